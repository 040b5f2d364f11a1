"""Word lists of the demo world. Everything the model talks about comes from here."""

NAMES = """Ada Adam Agnes Ahmed Aiko Alan Alba Alex Alice Amina Amir Ana Andrea Anna Anton Aria Arun Astrid
Axel Aya Bao Basil Beatrix Ben Bianca Boris Bruno Camila Carl Carmen Chen Chloe Clara Cora Dalia Dan Daria
David Dina Diego Dora Edgar Elena Eli Elif Emil Emma Enzo Erik Esther Eva Fabio Farah Felix Fiona Flora Frank
Freya Gabriel Gita Grace Greta Hana Hannah Hans Harry Hassan Helen Henry Hugo Ian Ida Igor Ines Ingrid Irene
Isaac Ivan Iris Jack Jade James Jana Jasmin Joan Jonas Jorge Jules Julia Kai Karim Karl Kate Kenji Kira Lars
Laura Layla Lea Leo Lena Liam Lina Linus Lola Lucas Lucy Luis Luna Maja Malik Marco Maria Marie Mark Marta Max
Maya Mehmet Mia Miguel Mila Mira Mona Nadia Nam Nina Noah Nora Olga Oliver Omar Oscar Otto Pablo Paul Paula Pedro
Petra Pia Priya Quentin Rafael Rania Ravi Rita Robin Rosa Ruben Ruth Sam Samir Sara Selma Simon Sofia Sonja Stefan
Sven Tara Teo Tess Tim Tina Tom Uma Ursula Vera Victor Vito Wanda Wei Will Xenia Yara Yuki Yusuf Zara Zoe""".split()

SURNAMES = """Abbott Almeida Bauer Becker Berg Bianchi Brandt Carter Castro Costa Cruz Dahl Diaz Duarte Evans Fischer
Ford Foster Garcia Grant Haas Hill Hoffman Ito Jansen Kaya Keller Khan Kim Klein Kovacs Lang Larsen Lopez Marin
Mendez Meyer Moreau Mori Nagy Nolan Novak Olsen Ortiz Park Patel Pereira Petrov Quinn Ramos Reyes Rossi Roth Sato
Schmidt Silva Singh Soto Stone Suzuki Tanaka Torres Vega Vogel Wagner Walker Weber Wolf Wong Young Ziegler""".split()

COLOURS = """red blue green yellow orange purple pink brown black white grey turquoise violet silver gold beige
crimson navy teal lime""".split()

CITIES = """Paris London Berlin Madrid Rome Vienna Lisbon Oslo Prague Warsaw Athens Dublin Helsinki Budapest Brussels
Zurich Geneva Munich Hamburg Lyon Porto Naples Milan Krakow Bergen Tokyo Osaka Kyoto Seoul Hanoi Bangkok Delhi Mumbai
Cairo Lagos Nairobi Lima Quito Bogota Santiago Toronto Montreal Boston Chicago Denver Seattle Austin Havana Sydney
Perth Auckland""".split()

FOODS = """pizza pasta sushi rice soup salad curry bread cheese chocolate pancakes noodles tacos apples cherries
dumplings risotto lasagna falafel paella ramen waffles olives""".split()

PETS = ["dog", "cat", "parrot", "rabbit", "horse", "hamster", "turtle", "goldfish"]
PET_NAMES = """Bella Buddy Coco Daisy Ginger Jasper Kiki Lucky Milo Misty Nala Nemo Oreo Pepper Rocky Rusty Shadow Snowy
Sparky Toby Tiger Waffle Ziggy""".split()

JOBS = """teacher nurse doctor pilot baker farmer painter lawyer engineer gardener chef dentist writer singer driver
carpenter plumber librarian scientist translator photographer architect""".split()

SPORTS = """tennis football chess swimming running hiking cycling skiing judo golf rowing climbing volleyball basketball
sailing yoga""".split()

INSTRUMENTS = ["piano", "guitar", "violin", "flute", "drums", "cello", "trumpet", "harp"]

ITEMS = """lamp chair table desk sofa pen notebook bag bottle cup plate spoon phone camera radio clock mirror carpet
towel blanket pillow helmet jacket shirt scarf hat ladder hammer drill shovel bucket basket candle kettle toaster""".split()

FRUITS = """apple banana cherry grape lemon mango melon orange papaya peach pear plum kiwi fig lime date""".split()

ANIMALS = """ant bear cat cow deer dog duck eagle fox frog goat hen horse lion mouse owl pig rabbit sheep snake tiger
whale wolf zebra""".split()

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]
MONTHS = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
          "November", "December"]
MONTH_DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]

SYLLABLES = """ba be bi bo bu da de di do du fa fe fi fo ga ge gi go ka ke ki ko ku la le li lo lu ma me mi mo mu na ne
ni no nu pa pe pi po ra re ri ro ru sa se si so su ta te ti to tu va ve vi vo za ze zo""".split()

CAPITALS = {
    "France": "Paris", "Germany": "Berlin", "Spain": "Madrid", "Italy": "Rome", "Austria": "Vienna",
    "Portugal": "Lisbon", "Norway": "Oslo", "Poland": "Warsaw", "Greece": "Athens", "Ireland": "Dublin",
    "Finland": "Helsinki", "Hungary": "Budapest", "Belgium": "Brussels", "Japan": "Tokyo", "Egypt": "Cairo",
    "Kenya": "Nairobi", "Peru": "Lima", "Cuba": "Havana", "Sweden": "Stockholm", "Denmark": "Copenhagen",
}
OPPOSITES = {
    "hot": "cold", "big": "small", "fast": "slow", "high": "low", "day": "night", "old": "new", "open": "closed",
    "up": "down", "left": "right", "wet": "dry", "hard": "soft", "early": "late", "full": "empty", "light": "dark",
    "long": "short", "rich": "poor", "strong": "weak", "thick": "thin", "true": "false", "loud": "quiet",
}
SOUNDS = {"dog": "woof", "cat": "meow", "cow": "moo", "duck": "quack", "sheep": "baa", "lion": "roar", "owl": "hoot",
          "pig": "oink", "frog": "croak", "horse": "neigh"}
THING_COLOURS = {"grass": "green", "the sky": "blue", "snow": "white", "a banana": "yellow", "coal": "black",
                 "blood": "red", "milk": "white", "a carrot": "orange"}
LEGS = {"a dog": 4, "a spider": 8, "a bird": 2, "an ant": 6, "a horse": 4, "a fish": 0, "a person": 2, "a crab": 10}


def invented_name(rng):
    """A capitalised word that means nothing: no list of known things holds it."""
    return "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 3)))).capitalize()
