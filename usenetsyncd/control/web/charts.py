"""Charts as inline SVG without a style attribute or a script: the policy of the page allows neither."""

from collections.abc import Callable, Sequence

from markupsafe import Markup, escape

WIDTH, HEIGHT = 600.0, 100.0
_ROUND = (1, 2, 2.5, 5, 10)
MAX_POINTS = 400


def chart(
    series: Sequence[tuple[str, Sequence[float]]],
    spell: Callable[[float], str],
    title: str,
    ends: tuple[str, str],
    least: float = 1.0,
    slots: int = 0,
) -> Markup:
    """Lines over an area.

    series: (name, values from left to right), the first is filled. spell: values on the scale. ends: what stands at
    the left and right of the time axis. least: the scale never ends below. slots: values that fill the axis; where
    there are fewer they stand at its right.
    """
    peak = max([least, *(value for _, values in series for value in values)])
    top = ceiling(peak)
    drawn = Markup("").join(
        _line(index, _thin(values, slots), top, slots)
        for index, (_, values) in reversed(list(enumerate(series)))
    )
    told = "; ".join(
        f"{name}: now {spell(values[-1] if values else 0)}, at most {spell(max(values, default=0))}"
        for name, values in series
    )
    legend = Markup("").join(
        Markup('<li class="series-{}">{}</li>').format(index, name) for index, (name, _) in enumerate(series)
    )
    return Markup(
        '<figure class="chart"><div class="plot"><div class="scale"><span>{top}</span><span>{middle}</span>'
        "<span>0</span></div>"
        '<svg viewBox="0 0 {width:g} {height:g}" preserveAspectRatio="none" role="img" aria-label="{label}">'
        '<path class="grid" d="M0 0H{width:g}M0 {half:g}H{width:g}M0 {height:g}H{width:g}"/>{drawn}</svg></div>'
        '<figcaption><span>{left}</span><ul class="legend">{legend}</ul><span>{right}</span></figcaption></figure>'
    ).format(
        top=spell(top),
        middle=spell(top / 2),
        width=WIDTH,
        height=HEIGHT,
        half=HEIGHT / 2,
        label=escape(f"{title}. {told}"),
        drawn=drawn,
        left=ends[0],
        right=ends[1],
        legend=legend,
    )


def ceiling(peak: float) -> float:
    """The round number at or above, that a scale ends with."""
    magnitude = 1.0
    while magnitude * 10 <= peak:
        magnitude *= 10
    return next(magnitude * step for step in _ROUND if magnitude * step >= peak)


def _line(index: int, values: Sequence[float], top: float, slots: int) -> Markup:
    if len(values) < 2:
        return Markup("")
    step = WIDTH / (max(len(values), min(slots, MAX_POINTS)) - 1)
    first = WIDTH - step * (len(values) - 1)
    points = " L".join(
        f"{first + number * step:.1f} {HEIGHT * (1 - value / top):.1f}" for number, value in enumerate(values)
    )
    line = Markup('<path class="line series-{}" d="M{}"/>').format(index, points)
    if index:
        return line
    area = Markup('<path class="area" d="M{} L{:.1f} {:.1f} L{:.1f} {:.1f} Z"/>')
    return area.format(points, WIDTH, HEIGHT, first, HEIGHT) + line


def _thin(values: Sequence[float], slots: int) -> Sequence[float]:
    """Not more points than can be seen; of those that fall together the highest is kept."""
    width = max(1, -(-max(len(values), slots) // MAX_POINTS))
    return [max(values[at : at + width]) for at in range(0, len(values), width)]
