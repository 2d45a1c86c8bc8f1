// Runs in the page: sizes that are enough with and without its "Nodes 2.0", and for pictures that come.
function resize() {
  const room = { LoadImage: [270, 370], SaveImage: [330, 380], CLIPTextEncode: [340, 160], KSampler: [300, 300],
    EmptyLatentImage: [270, 130], VAEDecode: [230, 60], CloraStartProject: [300, 290], CloraLoadModel: [300, 180],
    CloraDatasetFromImages: [340, 370], CloraDatasetFromFolder: [300, 342], CloraAddConcept: [340, 730],
    CloraConceptPrompt: [340, 180], CloraDraw: [400, 460], CloraForgettingReport: [340, 300], CloraLossPlot: [340, 240],
    CloraSaveCheckpoint: [340, 240], CloraExportLora: [340, 200], CloraProjectInfo: [340, 240] };
  for (const node of window.app.graph._nodes) if (room[node.type]) node.setSize(room[node.type]);
}

// Runs in the page: nodes in columns from left to right, each before the first that needs it, and below its
// source what nothing else needs. Of the heights of columns and the widths at which they are wrapped like
// words, those are taken with which the whole can be read best.
function arrange() {
  const nodes = window.app.graph._nodes, gap = 50, title = 50, page = [1400, 800];
  const sources = (node) => (node.inputs || []).map((_, slot) => node.getInputNode(slot)).filter(Boolean);
  const users = (node) => nodes.filter((user) => sources(user).includes(node));
  const below = (node) => {
    const [source, ...others] = new Set(sources(node));
    return source && !others.length && !users(node).length && sources(source).length ? source : null;
  };
  const level = new Map();
  const place = (node) => {
    if (below(node)) level.set(node, place(below(node)));
    if (!level.has(node)) level.set(node, Math.max(0, ...sources(node).map((source) => place(source) + 1)));
    return level.get(node);
  };
  nodes.forEach(place);
  for (const node of nodes) {
    if (!sources(node).length && users(node).length) level.set(node, Math.min(...users(node).map(place)) - 1);
  }
  const columns = (tall) => {
    const found = [];
    for (let depth = 0; depth <= Math.max(...level.values()); depth += 1) {
      let column = [], height = 0;
      const here = nodes.filter((one) => level.get(one) === depth && !below(one));
      for (const node of here.flatMap((one) => [one, ...nodes.filter((other) => below(other) === one)])) {
        if (column.length && height + node.size[1] > tall) { found.push(column); column = []; height = 0; }
        column.push(node);
        height += node.size[1] + title;
      }
      found.push(column);
    }
    return found;
  };
  const layout = (tall, wide) => {
    let x = 0, top = 0, right = 0, bottom = 0;
    const places = new Map();
    for (const column of columns(tall)) {
      const width = Math.max(...column.map((node) => node.size[0]));
      if (x && x + width > wide) { x = 0; top = bottom + gap; }
      let y = top;
      for (const node of column) { places.set(node, [x, y]); y += node.size[1] + title; }
      bottom = Math.max(bottom, y);
      right = Math.max(right, x + width);
      x += width + gap;
    }
    return { places, scale: Math.min(page[0] / right, page[1] / bottom) };
  };
  let best = { scale: 0 };
  for (let tall = 600; tall <= 1600; tall += 100) {
    for (let wide = 1000; wide <= 3000; wide += 100) {
      const found = layout(tall, wide);
      if (found.scale > best.scale + 0.01) best = found;
    }
  }
  for (const [node, spot] of best.places) node.pos = spot;
}

// Runs in the page: which nodes lie on others.
function overlaps() {
  const title = 30, found = [];
  const box = ({ pos, size }) => ({ left: pos[0], top: pos[1] - title, right: pos[0] + size[0], bottom: pos[1] + size[1] });
  const nodes = window.app.graph._nodes;
  nodes.forEach((node, index) => nodes.slice(index + 1).forEach((other) => {
    const one = box(node), two = box(other);
    if (one.left < two.right && two.left < one.right && one.top < two.bottom && two.top < one.bottom) {
      found.push(`${node.title} and ${other.title} overlap`);
    }
  }));
  return found;
}

module.exports = { arrange, overlaps, resize };
