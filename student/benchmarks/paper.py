"""The paper's zero-shot figures in per cent (Park et al. 2023, table 2), for comparison."""

COLUMNS = (
    "VCR Q-A",
    "VCR QA-R",
    "VCR Q-AR",
    "Sherlock",
    "VisualCOMET",
    "A-OKVQA",
    "SNLI-VE",
    "Visual7W",
)
ROWS = {
    "CLIP L/14-336 (paper)": (56.3, 51.3, 29.9, 10.9, 34.8, 61.0, 31.9, 66.7),
    "BLIP-2 ViT-G (paper)": (56.1, 49.8, 28.0, 19.5, 39.0, 68.0, 33.4, 77.1),
    "BLIP-2 ViT-G + LSKD (paper)": (59.0, 56.4, 33.4, 29.7, 40.3, 68.9, 40.3, 79.5),
}


def figure(row: str, column: str) -> float:
    """Return one of the paper's figures."""
    return ROWS[row][COLUMNS.index(column)]
