"""The ten classes of Galaxy10 DECaLS (Leung & Bovy, Zenodo record 10845026)."""

CLASS_NAMES = (
    "Disturbed",
    "Merging",
    "Round smooth",
    "In-between round smooth",
    "Cigar-shaped smooth",
    "Barred spiral",
    "Unbarred tight spiral",
    "Unbarred loose spiral",
    "Edge-on without bulge",
    "Edge-on with bulge",
)
NUM_CLASSES = len(CLASS_NAMES)

#: Rows of each class in the full ``Galaxy10_DECals.h5``, 17,736 in all.
CLASS_COUNTS = (1081, 1853, 2645, 2027, 334, 2043, 1829, 2628, 1423, 1873)
