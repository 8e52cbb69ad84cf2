"""The origin of the paper's videos: what to fetch, and what is known to be wrong with it.

Walking Tours: ten videos on YouTube, listed in the authors' data set (https://huggingface.co/datasets/shawshankvkt/Walking_Tours,
`WTour.txt` with its correction of 2024-01-28), with a mirror at figshare. Durations: paper, section 3.1.
"""

from dataclasses import dataclass

MIRROR = 25189275  # the article at figshare that has all ten
# As people who fetched all ten report it (25 GB for the ten in 720p); a tour lasts 98 minutes on average (paper, section 3.1).
TOUR_SIZE = "28 GB in 4K, 2.5 GB in 720p"
SHORTEST, LONGEST = 59, 175  # minutes of the ten tours (paper, section 3.1)
TOO_LONG = 0.02  # a video lasts longer, or shorter, than published by at most this share
NUM_VIDEOS = {"epic_kitchens": 700}  # of whole collections (https://arxiv.org/abs/2006.13256, abstract)
# Of whole sources, by their yamls' names: table 2a of https://arxiv.org/abs/2310.08584 and table 5, rounded.
FRAMES = {"wt_all": 1_500_000, "movie": 190_000}
MIRROR_PAGE = f"https://uvaauas.figshare.com/articles/dataset/Dora_WalkingTours_Dataset_ICLR_2024_/{MIRROR}"


@dataclass(frozen=True)
class Origin:
    """One video, or a collection that nobody but the user can fetch. `minutes` as published, where they are."""

    title: str
    licence: str
    youtube: str | None = None  # id
    figshare: int | None = None  # number of the article
    page: str | None = None  # where it is described
    minutes: int | None = None
    mirrored: int | None = None  # minutes that the mirror's file lasts, where that is another number
    size: str | None = None  # of the file, about
    aliases: tuple[str, ...] = ()  # other names of its file
    notes: tuple[str, ...] = ()

    def lasts(self, seconds: float) -> bool:
        """Whether a video can be this one, by its duration: as published, or between the shortest and the longest tour."""
        if self.minutes is None:
            return seconds / 60 + 1 >= SHORTEST and seconds / 60 - 1 <= LONGEST
        return any(abs(seconds / 60 - m) <= max(1.0, TOO_LONG * m) for m in (self.minutes, self.mirrored) if m)

    @property
    def watch(self) -> str | None:
        return f"https://www.youtube.com/watch?v={self.youtube}" if self.youtube else None


def _tour(
    city: str,
    youtube: str,
    minutes: int | None = None,
    aliases: tuple[str, ...] = (),
    *notes: str,
    mirrored: int | None = None,
) -> Origin:
    return Origin(
        f"Walking Tours, {city}", "CC BY 4.0", youtube, MIRROR, None, minutes, mirrored, TOUR_SIZE, aliases, notes
    )


ORIGINS: dict[str, Origin] = {
    "amsterdam": _tour("Amsterdam", "E07rTPgIvn0"),
    "bangkok": _tour("Bangkok", "hUGcHvN4mME", 175, (), "the longest; it gets dark"),
    "chiang_mai": _tour("Chiang Mai", "jyxIRzlkO_g"),
    "istanbul": _tour("Istanbul", "mA9lYWyXMYU"),
    "kuala_lumpur": _tour(
        "Kuala Lumpur", "yLTycPjm0nk", None, ("kuala_lampur",), "the authors' file says Kuala_Lampur"
    ),
    "singapore": _tour("Singapore", "aUJl46bEWYo"),
    "stockholm": _tour("Stockholm", "Jr9x-RB4E1U"),
    "venice": _tour(
        "Venice",
        "fGX0Te6pFvk",
        110,
        (),
        "the mirror's file lasts 3 h 40 min but is blank after 1 h 50 min; blank frames are never sampled",
        mirrored=220,
    ),
    "wildlife": _tour(
        "Wildlife safari", "Q0ML5oAjX_w", 59, (), "the authors replaced YcI_UXfMTgo by this video on 2024-01-28"
    ),
    "zurich": _tour("Zurich", "_NmYvuEILw4"),
    "the_night_we_met": Origin(
        "The Night We Met (World Movie Central)",
        "all rights reserved; for measurements of the paper's Table 2a only",
        "joIzqAueexA",
        notes=("667 shots (paper, A.2)",),
    ),
    "epic_kitchens": Origin(
        "EPIC-KITCHENS-100",
        "CC BY-NC 4.0",
        page="https://github.com/epic-kitchens/epic-kitchens-download-scripts",
        notes=("--videos gives EPIC-KITCHENS/Pxx/videos/*.MP4", "P01_109 and P27_103 were replaced (errata)"),
    ),
    "kinetics400": Origin(
        "Kinetics-400",
        "CC BY 4.0 (the list; the videos have their owners' licences)",
        page="https://github.com/cvdfoundation/kinetics-dataset",
        notes=("expected as train/<class>/<clip>.mp4, as torchvision has it",),
    ),
}


def origin_of(stem: str) -> Origin | None:
    """The origin of a file, or of a folder, of this name."""
    name = tour_name(stem)
    return next((o for key, o in ORIGINS.items() if name == key or name in o.aliases), None)


def tour_name(stem: str) -> str:
    """`Chiang Mai` and `chiang-mai` are `chiang_mai`."""
    return stem.lower().replace(" ", "_").replace("-", "_")


def how_to_get(origin: Origin) -> list[str]:
    """Lines that say where it is found, and what to know about it."""
    places = [place for place in (origin.watch or origin.page, MIRROR_PAGE if origin.figshare else None) if place]
    lines = [f"{origin.title} ({origin.licence}): {' or '.join(places)}"]
    about = [f"{origin.minutes} min"] * bool(origin.minutes) + [f"about {origin.size}"] * bool(origin.size)
    return lines + ([", ".join(about)] if about else []) + [f"note: {note}" for note in origin.notes]
