// Opens a page from the disk in Chromium at several widths. One JSON object on stdin, one on stdout.
//   {file, shots: {name: {width, dark, target}}} -> {requests, complaints, wider: {name: pixels}, paper: {name: colour},
//   empty: pictures that are not there, cut: texts that stand out of their drawing}
const { chromium } = require("playwright-core");

const OPTIONS = { executablePath: process.env.CHROMIUM || "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] };

async function look(browser, file, shot, found, name) {
  const page = await browser.newPage({ viewport: { width: shot.width, height: 900 },
    colorScheme: shot.dark ? "dark" : "light" });
  page.on("request", (request) => {
    if (!request.url().startsWith("data:")) found.requests.push(request.url());
  });
  page.on("console", (message) => found.complaints.push(message.text()));
  page.on("pageerror", (error) => found.complaints.push(String(error)));
  await page.goto(`file://${file}`);
  for (const summary of await page.locator("summary").all()) await summary.click();
  found.wider[name] = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  found.paper[name] = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  found.empty += await page.evaluate(() => [...document.images].filter((one) => !one.naturalWidth).length);
  found.cut.push(...await page.evaluate(() => [...document.querySelectorAll("svg text")].filter((text) => {
    const own = text.getBoundingClientRect(), whole = text.ownerSVGElement.getBoundingClientRect();
    return own.top < whole.top || own.bottom > whole.bottom || own.left < whole.left || own.right > whole.right;
  }).map((text) => text.textContent)));
  await page.screenshot({ path: shot.target, fullPage: true });
  await page.close();
}

async function main() {
  const job = JSON.parse(require("fs").readFileSync(0, "utf8"));
  const browser = await chromium.launch(OPTIONS);
  const found = { requests: [], complaints: [], wider: {}, paper: {}, empty: 0, cut: [] };
  for (const [name, shot] of Object.entries(job.shots)) await look(browser, job.file, shot, found, name);
  await browser.close();
  console.log(JSON.stringify(found));
}

main().catch((error) => { console.error(error); process.exit(1); });
