"""Everyday words that text-to-image models know. Written for clora; no list of anybody else's."""

__all__ = ["COLOURS", "LOOKS", "NOUNS", "PLACES"]

NOUNS = tuple(
    """
    airplane alien alligator ambulance ant apple avocado axe baby backpack badger bag ball balloon banana
    banjo barn basket basketball bat bathtub bear beaver bed bee beer beetle bell bench bicycle bird
    blossom boat book boot bottle bowl boy bread bridge broccoli broom bucket bus bush butterfly cactus
    cake camel camera candle car carrot castle cat cheese cherries chair chick church city clock cloud
    clover coconut coffee computer cookie corn cow crab croissant crown cup cupcake deer desk dice dog
    doll dolphin donkey donut door dragon dress drum duck eagle egg eggplant elephant face fence fire fish
    flamingo flower forest fountain fox fries frog garden ghost gift giraffe girl globe goat gorilla
    grapes guitar hamburger hammer hamster hat heart hedgehog helicopter honey horse house jacket
    jellyfish kangaroo key kite kitten kiwi knife koala ladder ladybug lake lamp laptop leaf lemon leopard
    lighthouse lion lizard lobster lock locomotive lollipop magnet man mirror monkey moon motorcycle
    mountain mouse mug mushroom nest octopus orange owl painting palm pancakes panda parrot peach peacock
    pear pencil penguin person phone piano pig pillow pine pineapple pirate pizza planet plate popcorn
    potato pretzel princess pumpkin puppy puzzle rabbit raccoon rainbow rhinoceros ring river road robot
    rock rocket rooster rose sailboat sandwich scissors scooter shark sheep shell ship shirt shoe
    skateboard skull snail snake snowman soccer sofa soldier spider spoon squirrel star statue strawberry
    street suitcase sun sunflower swan table taco tangerine taxi teapot tent tiger tomato tower tractor
    train tree trophy truck trumpet tulip turtle umbrella unicorn vase village violin volcano waffle wall
    watch waterfall whale window wine wizard wolf woman zebra
    """.split()
)
"""Things, people and animals."""

COLOURS = ("red", "blue", "yellow", "white", "purple", "black", "green", "orange", "pink", "gray", "brown")

PLACES = (
    "in the snow",
    "on the beach",
    "in the forest",
    "in the city",
    "in a garden",
    "on a table",
    "in the street",
    "at night",
    "in the water",
    "in a room",
    "on the grass",
    "under the sky",
)

LOOKS = (
    "big",
    "small",
    "old",
    "new",
    "beautiful",
    "cute",
    "funny",
    "happy",
    "wood",
    "golden",
    "shiny",
    "bright",
)
