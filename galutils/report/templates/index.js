/* Which way is best with so many labels. */
const advice = document.getElementById("advice");
if (advice) {
  const known = JSON.parse(advice.textContent), number = document.getElementById("advice-number");
  number.addEventListener("input", () => {
    const [labels, said] = known[number.value];
    number.ariaValueText = labels;
    tell("advice-said", said);
  });
  number.dispatchEvent(new Event("input"));
}

/* A sentence whose numbers are links to where they come from. */
function tell(place, said) {
  const element = document.getElementById(place);
  element.replaceChildren(...said.split(new RegExp({{ computed | tojson }})).map((part, i) => {
    if (i % 2 === 0) return part;
    const link = Object.assign(document.createElement("a"), { className: "number", textContent: part });
    link.href = element.dataset.evidence;
    return link;
  }));
}

/* Any two approaches that were compared, in either order, and what the comparison says. */
const duels = document.getElementById("duels");
if (duels) showDuels(JSON.parse(duels.textContent).flatMap((one) => [one, turned(one)]));

/* The same comparison the other way round: signs, limits, who is right alone and the verdict change places. */
function turned({ pair: [first, second], said }) {
  const negative = (number) => /[1-9]/.test(number) ? (number.startsWith("-") ? "+" : "-") + number.slice(1) : number.replace("-", "+");
  const rest = said.slice(`${second} less ${first}: `.length)
    .replace(/^(\S+) \((\S+) to (\S+)\)/, (_, mean, low, high) => `${negative(mean)} (${negative(high)} to ${negative(low)})`)
    .replace(/(right alone:) (\d+), (\d+)/, "$1 $3, $2")
    .replace(/(the second:) (better|worse)/, (_, on, verdict) => `${on} ${verdict === "better" ? "worse" : "better"}`);
  return { pair: [second, first], said: `${first} less ${second}: ${rest}` };
}

function showDuels(known) {
  const [first, second] = ["duel-first", "duel-second"].map((id) => document.getElementById(id));
  const fill = (select, names) => select.replaceChildren(...names.map((name) => new Option(name)));
  const show = () => {
    const found = known.find(({ pair }) => pair[0] === first.value && pair[1] === second.value);
    tell("duel-said", found.said);
  };
  const offer = () => {
    fill(second, known.filter(({ pair }) => pair[0] === first.value).map(({ pair }) => pair[1]));
    show();
  };
  fill(first, [...new Set(known.map(({ pair }) => pair[0]))]);
  first.addEventListener("change", offer);
  second.addEventListener("change", show);
  offer();
}
