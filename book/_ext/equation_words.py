"""What each numbered equation is, in a few words, and where the papers have it.

The one table that is kept by hand. Chapters, functions and tests are read from their own files, and
the build stops when an equation is missing here or stands here for nothing.
"""

DDIM, DDPM = "DDIM paper", "DDPM paper"

WORDS = {
    "1": ("A picture noised to any level in one draw", f"{DDIM}, equation 4"),
    "1.1": ("The chain that noises a picture level by level", f"{DDPM}, equation 2"),
    "2": ("One step down with the oracle's picture", f"{DDIM}, equation 7 with $\\sigma = 0$"),
    "3": ("The picture that goes with a guess of the noise", f"{DDIM}, equation 9"),
    "4": ("How probable each picture of a finite data set is", None),
    "5": ("The loss", f"{DDIM}, equation 5 with all weights 1; {DDPM}, equation 14"),
    "3.1": ("The velocity, a mixture of noise and picture", "Salimans and Ho (2022), section 4"),
    "3.2": ("The noise that a velocity stands for", "Salimans and Ho (2022), in other letters"),
    "3.3": ("The loss of the velocity is a weighted loss of the noise",
            "Salimans and Ho (2022), in other letters"),
    "6": ("DDIM's step to the level below", f"{DDIM}, equation 12 with $\\sigma = 0$"),
    "4.1": ("No guess beats the posterior mean", None),
    "4.2": ("The best guess where the data are two points", None),
    "4.3": ("With the best guess a step ends at the mean of the oracle's steps", None),
    "4.4": ("A cloud moves as if each point had the mean velocity of its place", None),
    "4.5": ("The variance that long steps leave of normal data", None),
    "7": ("DDIM's step to any earlier level",
          f"{DDIM}, equation 12 with $\\sigma = 0$, over the levels of its section 4.2"),
    "8": ("The family: a step with fresh noise", f"{DDIM}, equation 12"),
    "9": ("How much fresh noise, in units of DDPM's", f"{DDIM}, equation 16"),
    "10": ("DDPM's step", f"{DDPM}, algorithm 2 with the variance of its equation 7"),
    "6.1": ("Several steps of the chain at once", f"{DDPM}, equation 2, taken several times"),
    "6.2": ("A lower level of the chain, given a higher one and the picture",
            f"{DDPM}, equations 6 and 7, for any $s < t$"),
    "6.3": ("The way down with the true picture, for any amount of fresh noise",
            f"{DDIM}, equation 7"),
    "6.4": ("The weight of a level in the objective of a member of the family",
            f"{DDIM}, theorem 1; {DDPM}, equation 12 for $\\eta = 1$"),
    "7.1": ("The straight line between two start points", None),
    "7.2": ("The arc between two start points", f"{DDIM}, appendix D.5"),
    "7.3": ("A step up, to encode", f"{DDIM}, equation 13 read from $s$ to $t$"),
    "9.1": ("DDIM's step, divided by the weight of the picture", f"{DDIM}, equation 13"),
    "9.2": ("The same step in two letters", f"{DDIM}, equation 13"),
    "9.3": ("The differential equation that DDIM follows", f"{DDIM}, equation 14"),
    "9.4": ("The mean of the noise where two normals are the data", None),
    "9.5": ("Where the path from a start point ends exactly", None),
    "9.6": ("The score is the best guess of the noise in other units",
            "Song and others (2021), in other letters"),
    "9.7": ("The probability-flow ODE", "Song and others (2021), in DDPM's case"),
    "9.8": ("Flow matching's line and its velocity", "Lipman and others (2022)"),
    "9.9": ("A noised picture in flow matching's letters", None),
}
