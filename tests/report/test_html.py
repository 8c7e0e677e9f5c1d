import pytest

from galutils.report.html import clean, link_numbers


@pytest.mark.parametrize(
    "markup",
    [
        '<a href="javascript:alert(1)">x</a>',
        '<a href="java\tscript:alert(1)">x</a>',
        '<a href=" \x01javascript:alert(1)">x</a>',
        '<img src="https://elsewhere.example/pixel.png">',
        '<img srcset="//elsewhere.example/a.png 2x">',
        '<video poster="http://elsewhere.example/a.png"></video>',
        '<p onclick="alert(1)">x</p>',
        "<script>alert(1)</script>",
        '<iframe src="https://elsewhere.example"></iframe>',
    ],
)
def test_nothing_runs_and_nothing_is_fetched(markup):
    cleaned, _ = clean(markup)
    assert not any(word in cleaned for word in ("script", "alert", "elsewhere"))


def test_what_a_page_needs_stays():
    kept = '<p><a href="10_results.html#x">x</a><img alt="y" src="data:image/webp;base64,AA"/></p>'
    assert clean(kept) == (kept, [])


def test_tables_and_figures_are_numbered_and_can_be_linked():
    page, sections = clean(
        "<h2>What's 5%?</h2><table><tbody><tr><td>1</td></tr></tbody></table>"
        '<figure class="drawing" role="img" aria-label="A bar &amp; a line."><svg></svg>'
        '<a class="csv" href="data:text/csv;base64,YSxi">CSV</a></figure>'
        "<h2>What's 5%?</h2>"
        '<figure class="gallery"><img alt="Ten galaxies." src="data:image/webp;base64,AA"/></figure>',
        "05_custom_cnn",
    )
    assert sections == [("what-s-5", "What's 5%?"), ("what-s-5-2", "What's 5%?")]
    for part in (
        """<table id="table-1"><caption><a href="#table-1">Table 1.</a> What's 5%?</caption>""",
        '<figure class="drawing" id="figure-1"><svg aria-label="A bar &amp; a line." role="img"></svg><figcaption>'
        '<a href="#figure-1">Figure 1.</a> A bar &amp; a line.<a class="csv" '
        'download="05_custom_cnn-figure-1.csv" href="data:text/csv;base64,YSxi">CSV</a>',
        '<figcaption><a href="#figure-2">Figure 2.</a> Ten galaxies.</figcaption>',
    ):
        assert part in page


def test_a_picture_of_a_galaxy_that_the_explorer_shows_is_a_link_to_it():
    pictures = "".join(f'<img alt="x" data-row="{row}" src="data:image/webp;base64,AA">' for row in (3, 4))
    page = f'<figure class="gallery" aria-label="Two.">{pictures}</figure>'
    for experiment, said in (("dino_kmeans", "approach=dino_kmeans&amp;row=4"), (None, "row=4")):
        found, _ = clean(page, mapped={4}, experiment=experiment)
        linked = f'<a href="explorer.html#{said}"><img alt="x" data-row="4" src="data:image/webp;base64,AA"/></a>'
        assert f'<img alt="x" data-row="3" src="data:image/webp;base64,AA"/>{linked}<figcaption>' in found


def test_what_stands_in_brackets_behind_a_name_is_a_badge():
    page, _ = clean("<table><tbody><tr><th>A, b (random) (fallen)</th><td>1 (0 to 2)</td></tr></tbody></table>")
    assert (
        '<th>A, b <span class="badge">random</span> <span class="badge">fallen</span></th><td>1 (0 to 2)</td>' in page
    )


@pytest.mark.parametrize(("count", "folded"), [(40, False), (41, True)])
def test_a_log_is_folded_behind_its_last_line(count, folded):
    printed = "".join(f"epoch {i}\n" for i in range(1, count + 1))
    page, _ = clean(f'<div class="output_stream"><pre>{printed}</pre></div>')
    opened = f'<details class="log"><summary>epoch {count} ({count} lines)</summary><pre>{printed}</pre></details>'
    assert page == f'<div class="output_stream">{opened if folded else f"<pre>{printed}</pre>"}</div>'


@pytest.mark.parametrize(("count", "folded"), [(4, False), (5, True)])
def test_a_training_of_few_epochs_is_folded_too(count, folded):
    page, _ = clean(
        '<div class="output_stream"><pre>'
        + "".join(f"epoch {i}/{count}: loss 2.3\n" for i in range(1, count + 1))
        + "</pre></div>"
    )
    assert (f"<summary>epoch {count}/{count}: loss 2.3 ({count} lines)</summary>" in page) == folded


def test_a_term_is_explained_once_and_never_in_code():
    page, _ = clean("<h2>NMI</h2><pre>NMI</pre><p>the NMI, not NMIs</p><p>NMI</p>")
    assert page.count("<abbr") == 1
    start = (
        '<p>the <abbr data-means="Normalised mutual information: what two groupings tell of each other, from 0 to 1."'
    )
    assert start in page


def test_computed_numbers_link_to_where_they_come_from_and_names_do_not():
    text = "A <b> with VGG-16 & 32 channels: 43.5% (95% interval 40% to 47.1%), -2.5 points (-4.0 to +0.1)."
    share, change = (f'<a class="number" href="{place}">{{}}</a>'.format for place in ("r#t", "r#d"))
    assert link_numbers(text, "r#t", "r#d") == (
        "A &lt;b&gt; with VGG-16 &amp; 32 channels: "
        f"{share('43.5%')} (95% interval {share('40%')} to {share('47.1%')}), "
        f"{change('-2.5')} points ({change('-4.0')} to {change('+0.1')})."
    )
