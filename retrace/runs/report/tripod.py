"""The items of TRIPOD+AI, each answered: by a section, in a sentence, or with "not done".

Collins GS et al., BMJ 2024;385:e078378. The numbers are theirs, the topics are in our words.
"""

import re

from retrace.runs import recipes
from retrace.runs.numbered import OWN
from retrace.runs.report.division import tested
from retrace.runs.report.document import Checklist, Item, Paragraph, Section
from retrace.runs.report.files import SOURCES, Files
from retrace.runs.report.making import TREES
from retrace.runs.report.material import population, said
from retrace.runs.report.opening import classes, unit
from retrace.runs.report.values import Ref, Text

# number | topic | answer | words; what goes on stands on the next line, after spaces. {name} is of
# the run, [Section] leads there, and the answer ? depends on the run.
ITEMS = """
Title and abstract
1 | Title | reported | Development and evaluation of a classifier: each {unit} into {classes}.
  Data: {title}.
2 | Abstract | partly | The top of this report; it does not follow the list for abstracts.
Introduction
3a | Clinical context, rationale, existing models | partly | Diagnostic, not prognostic: it names
  what stands in a recording that was made. Published models on these data were not reviewed.
3b | Target population, purpose, users | reported | See [Intended use].
3c | Known health inequalities | not done | None were looked for. {groups}
4 | Objectives | reported | Development and internal evaluation, {split}.
Methods: data
5a | Sources of data, representativeness | reported | See [Data], and the limits under
  [Intended use].
5b | Dates | ? | {dates}
6a | Setting and centres | ? | {setting}
6b | Eligibility | ? | {eligibility}
6c | Treatments | ? | {treatments}
7 | Preparation and quality of data | reported | The same for everyone: see [Data].
8a | Outcome, and how it was assessed | reported | Which of {classes} it is; there is no time
  horizon. Labels: {outcome}
8b | Who assessed the outcome | ? | {assessors}
8c | Blinding of that assessment | ? | {blinding}
9a | Choice of predictors | reported | The signal itself; none was selected. Beside it: {features}.
9b | Definition of predictors | reported | See [Data] and [Model].
9c | Who assessed predictors | ? | {measured}
10 | Sample size | not done | No calculation: as many as the data set has. What that allows is
  seen in the intervals under [Scores].
11 | Missing data | partly | Recordings with missing values: {unusable}; recordings that are too
  short: {short}. Nothing was imputed.
Methods: analysis
12a | Use of the data | reported | See [Split and leakage].
12b | Handling of predictors | reported | Normalisation: {normalise}; input: {input}. See [Data].
12c | Type and building of the model, tuning | partly | {model}: see [Model]. {picked} What was
  tried before these params is not in the files of the run.
12d | Differences between clusters | partly | One source, so that centres cannot be compared;
  patients are, where they are known: see [Scores].
12e | Measures and plots | reported | Discrimination, calibration, confusion and noise: see
  [Scores], [Calibration] and [Robustness]. Clinical utility was not measured.
12f | Updating after the evaluation | not applicable | None was made: temperature and thresholds
  were fitted on validation, before the test part was opened.
12g | How predictions were calculated | reported | Softmax of the logits over a temperature, by the
  code and by the ONNX file: see [Rebuild it].
13 | Class imbalance | reported | Method: {imbalance}, on the training part alone; temperature
  scaling follows: see [Calibration].
14 | Fairness | not done | No approach was used. {groups}
15 | Output of the model | reported | A probability for each class, and the likeliest class.
  Thresholds of the best F1 on validation stand under [Scores]; a clinic sets its own.
16 | Training versus evaluation | reported | Same source, same labels, same preparation; who stands
  in which part: see [Split and leakage].
17 | Ethical approval | ? | {ethics}
Open science, patients and public
18a | Funding | not done | No statement was given.
18b | Conflicts of interest | not done | No statement was given.
18c | Protocol | not done | None was written beforehand.
18d | Registration | not done | It is not registered.
18e | Data | reported | Licence: {licence}. See [Data].
18f | Code | reported | This repository, under the MIT licence, with all that rebuilds it:
  [Rebuild it].
19 | Patients and public | not done | They were not involved.
Results
20a | Flow of participants | partly | Counts of the parts: see [Data]; there is no diagram, and no
  follow-up.
20b | Characteristics | partly | Counts by class, and of patients: see [Data]; more only where the
  data set tells it.
20c | Compared with the training data | ? | {compared}
21 | Numbers in each analysis | ? | See [Data] and [Scores].
22 | The model itself | reported | Weights, ONNX file and hashes: [Rebuild it]. Params: [Model].
23a | Performance | reported | With intervals, by class and by group: [Scores].
23b | Differences between clusters | partly | By patient or record, where they are known: [Scores].
  There is one centre at most.
24 | Updated model | not applicable | The model was not updated.
Discussion
25 | Interpretation | partly | Macro F1 less that of the most frequent class given to all: {gain},
  which is {above}. Other studies were not compared.
26 | Limitations | reported | See [Intended use] and [Split and leakage].
27a | Poor or missing input | partly | retrace predict refuses what is no such signal, gives each
  stretch a word on its quality, and with --reject calls uncertain what is not sure enough. How
  much that helps was not measured in this run.
27b | What users have to do and know | reported | Name the lead, and the rate where a file has
  none; set thresholds; read ECGs.
27c | Next steps | partly | {next}
"""
DONE, PARTLY, NOT, NONE = "reported", "partly", "not done", "not applicable"


def tripod(files: Files) -> Section:
    """All items, by their numbers."""
    own, answers = _own(files), _answers(files)
    items: list[Item | str] = []
    for line in re.sub(r"\n +", " ", ITEMS).strip().splitlines():
        if "|" not in line:
            items.append(line)
            continue
        number, topic, answer, words = line.split(" | ", 3)
        items.append(Item(number, topic, answers.get(number, answer), _filled(words, own)))
    intro = (
        "The checklist for reports of prediction models (Collins et al., BMJ 2024;385:e078378). "
        "What only the team that uses this model can say, such as its funding, is not done here.",
    )
    return Section("TRIPOD+AI", [Paragraph(intro, "note"), Checklist(items)])


def _filled(words: str, own: dict[str, Text]) -> Text:
    """Words with what is the run's own, and with the sections that they lead to."""
    found: list[Text] = []
    for part in re.split(r"(\{\w+\}|\[[\w ]+\])", words):
        if part.startswith("{"):
            found.append(own[part[1:-1]])
        elif part.startswith("["):
            found.append((Ref(part[1:-1]),))
        elif part:
            found.append((part,))
    return tuple(word for text in found for word in text)


def _answers(files: Files) -> dict[str, str]:
    """The answers that depend on the run, by number."""
    who, virtual = population(files), _virtual(files)
    published = {
        "5b": "dates",
        "6a": "setting",
        "6b": "eligibility",
        "6c": "treatments",
        "8c": "blinding",
    }
    empty = ("None.", "Not applicable.")
    known = {
        number: NOT if who[key].value is None else NONE if who[key].value in empty else DONE
        for number, key in published.items()
    }
    at_hand = DONE if files.segments else PARTLY
    return known | {
        "8b": NONE if virtual else PARTLY,
        "9c": PARTLY if files.run.beats else NONE,
        "17": NONE if virtual else NOT,
        "20c": at_hand,
        "21": at_hand,
    }


def _own(files: Files) -> dict[str, Text]:
    """What the words of the items take from the run, by name."""
    params, who, virtual = files.params, population(files), _virtual(files)
    source = files.repository(SOURCES)[files.run.dataset]
    gain = files.scores["baselines"]["majority"]["f1_macro_gain"]
    above = gain["low"].value is not None and gain["low"].value > 0
    trees = params["model.name"].value in TREES
    grouped = any(own["groups"].value for own in files.scores["subgroups"].values())
    published = ("dates", "setting", "eligibility", "treatments", "outcome", "blinding")
    named = {
        "features": "model.features",
        "input": "model.input",
        "model": "model.name",
        "normalise": "segment.normalise",
        "short": "segment.short",
        "unusable": "bandpass.unusable",
        "imbalance": "train.imbalance",
    }
    return {
        **{key: said(who[key]) for key in published},
        **{key: (params[param].text(),) for key, param in named.items()},
        "title": (source["title"].text(),),
        "licence": (source["licence"].text(),),
        "unit": unit(files),
        "classes": classes(files),
        "split": (tested(files),),
        "gain": (gain["value"].decimal(),),
        "above": ("above zero in all of its interval" if above else "not shown to be above zero",),
        "picked": ("Validation ends it." if trees else "The validation score picks the epoch.",),
        "groups": (
            "Scores by sex and age are shown." if grouped
            else "The data tell nobody's sex or age: not even scores by group can be shown.",
        ),
        "assessors": (
            "Nobody: it was computed." if virtual
            else "As far as it is known, it stands under Data; of them themselves nothing is.",
        ),
        "measured": (
            "Where the beats lie was annotated by those who labelled them, in the test part too."
            if files.run.beats else "Nobody: a device measured them.",
        ),
        "compared": (
            "By class, under Data." if files.segments
            else "The test part alone stands under Data: the other parts are not at hand.",
        ),
        "ethics": (_ethics(files),),
        "next": (
            "Recordings of real people." if virtual
            else "Recordings of other devices, hospitals and people; then a study with its users.",
        ),
    }  # fmt: skip


def _virtual(files: Files) -> bool:
    return files.run.dataset == recipes.DEFAULT


def _ethics(files: Files) -> str:
    if _virtual(files):
        return "No person was recorded."
    if files.run.dataset == OWN:
        return "Whoever made the recordings has to name the committee and the consent."
    return (
        "None was sought for this work: the recordings are published, without names. The "
        "publisher's own approval was not looked up."
    )
