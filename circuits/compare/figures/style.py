"""Colors and symbols of the roles, beside what all figures share (`probes.figures.style`)."""

from circuits.compare.config import Role
from probes.figures.style import AGAINST as AGAINST
from probes.figures.style import CARRIES as CARRIES
from probes.figures.style import CELL_COLORS as CELL_COLORS
from probes.figures.style import CELL_LABELS as CELL_LABELS
from probes.figures.style import CELL_SYMBOLS as CELL_SYMBOLS
from probes.figures.style import CONTRAST_COLORS as CONTRAST_COLORS
from probes.figures.style import CONTRAST_SYMBOLS as CONTRAST_SYMBOLS
from probes.figures.style import FONT as FONT
from probes.figures.style import GREY as GREY
from probes.figures.style import GRID as GRID
from probes.figures.style import INK as INK
from probes.figures.style import LINE as LINE
from probes.figures.style import PAIR_COLORS, PAIR_SYMBOLS
from probes.figures.style import PERCENT as PERCENT
from probes.figures.style import Dash as Dash
from probes.figures.style import base_figure as base_figure
from probes.figures.style import error_bar as error_bar
from probes.figures.style import hover as hover
from probes.figures.style import scaled as scaled
from probes.figures.style import style_axes as style_axes

ROLE_COLORS: dict[Role, str] = {
    "teacher": PAIR_COLORS["teacher"],
    "student": PAIR_COLORS["student"],
    "teacher_plain": GREY,
    "student_plain": GREY,
    "student_debiased": GREY,
}
ROLE_SYMBOLS: dict[Role, str] = {
    "teacher": PAIR_SYMBOLS["teacher"],
    "student": PAIR_SYMBOLS["student"],
    "teacher_plain": "circle-open",
    "student_plain": "diamond-open",
    "student_debiased": "triangle-up-open",
}
