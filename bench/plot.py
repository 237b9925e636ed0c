"""Pictures of results, as SVG files that are the same for the same lines."""

from pathlib import Path

from bench.measurements import Results, medians

BATON, OTHER = "#1d6b62", "#a9a395"


def bars(results: Results, path: Path) -> Path:
    """Records per second of each contestant: a bar for the median, a dot for each round."""
    import matplotlib as mpl  # noqa: PLC0415  it takes a second to load

    mpl.use("Agg")
    import matplotlib.pyplot as plt  # noqa: PLC0415

    rates = dict(sorted(medians(results.lines, "contestant", "records_per_s").items(), key=lambda item: item[1]))
    names = [name for name in rates if name != "baton-2"]
    with mpl.rc_context({"svg.hashsalt": "baton", "svg.fonttype": "none", "font.size": 10}):
        figure, axes = plt.subplots(figsize=(8, 0.55 * len(names) + 1.1), layout="constrained")
        colours = [BATON if name == "baton" else OTHER for name in names]
        axes.barh(names, [rates[name] for name in names], color=colours, height=0.6)
        for place, name in enumerate(names):
            rounds = [line["records_per_s"] for line in results.of(contestant=name)]
            axes.plot(rounds, [place] * len(rounds), "o", color="black", markersize=3)
            axes.text(max(rounds), place, f"  {rates[name]:,.0f}", va="center")
        axes.set_xlabel("records/s on one core, visible to a read_committed reader")
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
        plt.close(figure)
    return path
