"""The plain text of each gate: what it asks, what it means to pass or to fail it, and what would help.

It is for the owner of a home, who knows labels and minutes but no statistics: a window is a minute, the challenger is the new model, the
champion the running one. `gate_words` fills in the figures. A new gate gets its text here; a test fails until it has one.
"""

from typing import Literal, NamedTuple

Shown = Literal["share", "score", "change", "nothing"]


class GateText(NamedTuple):
    """The plain text of one gate; `{observed}`, `{threshold}`, `{detail}` and others stand for what the gate says.

    Attributes:
        title: what the gate asks for, in a few words.
        passed: the sentence if it passes.
        failed: the sentence if it fails.
        asks: the question, after "whether".
        improve: what would help a model that fails.
        decide: what would help if it cannot be judged.
        shows: how its figures are written: a share as percent, a score from 0 to 1, a change with its sign, or not at all.
    """

    title: str
    passed: str
    failed: str
    asks: str
    improve: str
    decide: str
    shows: Shown


_MORE_TEST_MINUTES = "Label more minutes on the most recent days: only the newest labels of each person judge a model."


_COMPARE_MORE = "Label more minutes from now on: about every seventh labelled minute is used to compare the models."


_MORE_DAYS = "Label on more days: a person, a label or a kind of use is judged alone only with enough days."


GATE_TEXTS: dict[str, GateText] = {
    "loads_and_predicts": GateText(
        title="The model works",
        passed="Its files load, and it gives an answer for every minute of the test.",
        failed="It does not load, or gives no usable answer for some minutes: {detail}.",
        asks="it works",
        improve="Retrain with force. If it fails again, the disk or an installed library is broken: report the message.",
        decide="Retrain with force.",
        shows="nothing",
    ),
    "macro_f1": GateText(
        title="Good on average over the labels",
        passed="On average over the labels it scores {observed} of 1; {threshold} is required.",
        failed="On average over the labels it scores only {observed} of 1; {threshold} is required.",
        asks="it is good enough on average over the labels",
        improve="Label more stretches of the labels that it gets wrong most often, on several days, and correct labels that are wrong.",
        decide=_MORE_TEST_MINUTES,
        shows="score",
    ),
    "weighted_f1": GateText(
        title="Good on the work that fills most of the day",
        passed="With frequent labels counting more it scores {observed} of 1; {threshold} is required.",
        failed="With frequent labels counting more it scores only {observed} of 1; {threshold} is required.",
        asks="it is good enough on the work that fills most of the day",
        improve="Label more of the work that fills most of the day, and check the labels that it has now.",
        decide=_MORE_TEST_MINUTES,
        shows="score",
    ),
    "breakidle_precision": GateText(
        title="Takes little other work for BreakIdle",
        passed="{observed} of what it calls BreakIdle is right; {threshold} is required.",
        failed="It mistakes other work for BreakIdle too often: {observed} of what it calls BreakIdle is right, {threshold} is required.",
        asks="it takes little other work for BreakIdle",
        improve="Label more stretches of BreakIdle, above all beside work that looks like one, such as reading, and label that, too.",
        decide="Label more stretches of BreakIdle on the most recent days: this label must always be judged.",
        shows="share",
    ),
    "breakidle_recall": GateText(
        title="Finds the breaks",
        passed="It finds {observed} of the BreakIdle minutes; {threshold} is required.",
        failed="It misses too many breaks: it finds {observed} of the BreakIdle minutes, {threshold} is required.",
        asks="it finds the breaks",
        improve="Label more stretches of BreakIdle, above all short ones and ones at other times of the day.",
        decide="Label more stretches of BreakIdle on the most recent days: this label must always be judged.",
        shows="share",
    ),
    "no_class_below_50_precision": GateText(
        title="Right more often than not for every label",
        passed="Whatever label it gives, at least {observed} of it is right; {threshold} is required.",
        failed="One label is right too rarely: {observed} of what it calls so is right, {threshold} is required ({detail}).",
        asks="it is right more often than not for every label",
        improve="Label more stretches of this label, and of the labels that it is mistaken for.",
        decide="Label more stretches of the labels that it never gives, or more minutes on the most recent days.",
        shows="share",
    ),
    "reject_rate_bounds": GateText(
        title="Unsure neither too often nor too rarely",
        passed="It is unsure in {observed} of the minutes; from {low} to {high} is allowed.",
        failed="It is unsure in {observed} of the minutes; from {low} to {high} is allowed.",
        asks="it is unsure neither too often nor too rarely",
        improve="",
        decide=_MORE_TEST_MINUTES,
        shows="share",
    ),
    "seen_user_f1": GateText(
        title="Good for people that it learned from",
        passed="For people that it learned from it scores {observed} of 1; {threshold} is required.",
        failed="For people that it learned from it scores only {observed} of 1; {threshold} is required.",
        asks="it is good enough for people that it learned from",
        improve="Label more days of these people.",
        decide="Label more recent minutes of people that are not held out.",
        shows="score",
    ),
    "unseen_user_f1": GateText(
        title="Good for people that it has never seen",
        passed="For people that it has never seen it scores {observed} of 1; {threshold} is required.",
        failed="For people that it has never seen it scores only {observed} of 1; {threshold} is required.",
        asks="it is good enough for people that it has never seen",
        improve="Let more different people label, or hold out fewer of them.",
        decide="Label more recent minutes of the people that are held out.",
        shows="score",
    ),
    "beats_rule_baseline": GateText(
        title="Better than simple rules",
        passed="Where taskclf's simple rules name a label it scores {observed}, the rules {threshold}.",
        failed="Where taskclf's simple rules name a label it scores {observed}, no better than the rules with {threshold}.",
        asks="it is better than taskclf's simple rules",
        improve="Label more days: so far there is no more to be learned than the rules say.",
        decide=_MORE_TEST_MINUTES,
        shows="score",
    ),
    "beats_lookup_baseline": GateText(
        title="Better than a table of apps",
        passed="It scores {observed}; always saying the most common label of the app scores {threshold}.",
        failed="It scores {observed}, no better than always saying the most common label of the app, which scores {threshold}.",
        asks="it is better than a table of the most common label of each app",
        improve="Label more days, above all the times when you do different things in the same app.",
        decide=_MORE_TEST_MINUTES,
        shows="score",
    ),
    "reproducible": GateText(
        title="Training again gives the same model",
        passed="Training again on the same data gave the same model.",
        failed="Training again on the same data gave another model: {detail}.",
        asks="training again gives the same model",
        improve="Retrain with force. If it fails again, the memory or an installed library of this computer is broken.",
        decide="Retrain with force.",
        shows="nothing",
    ),
    "macro_f1_no_regression": GateText(
        title="Not worse than the running model",
        passed="Beside the running model its average score changes by {observed}; down to {threshold} is allowed.",
        failed="It is worse than the running model: its average score changes by {observed}, down to {threshold} is allowed.",
        asks="it is not worse than the running model",
        improve="Check the newest labels: a day with wrong labels is the usual cause. Else keep the running model, and label more days.",
        decide=_COMPARE_MORE,
        shows="change",
    ),
    "shown_better_in_trial": GateText(
        title="Shown to be better in a trial",
        passed="On the days of its trial it is better than the running model: its average score is at least {observed} above.",
        failed="On the days of its trial it is worse than the running model: {detail}.",
        asks="it is better than the running model on days that came after its training",
        improve="Keep the running model, and label on: the next retrain makes another one.",
        decide="Label on the days of the trial, and let it go on.",
        shows="change",
    ),
    "min_improvement": GateText(
        title="Better by as much as is asked for",
        passed="Beside the running model its average score changes by {observed}; {threshold} is asked for.",
        failed="It is not enough better than the running model: its average score changes by {observed}, {threshold} is asked for.",
        asks="it is better than the running model by as much as is asked for",
        improve="Label more days until there is something new to learn, or ask for less (`min_improvement`).",
        decide=_COMPARE_MORE,
        shows="change",
    ),
    "not_worse_than_anchor": GateText(
        title="Not far below the best recent model",
        passed="Beside the best model of the last 60 days its average score changes by {observed}; down to {threshold} is allowed.",
        failed="It is far below the best model of the last 60 days: its average score changes by {observed}, {threshold} is allowed.",
        asks="it is not far below the best model of the last 60 days",
        improve="Models got worse step by step: check the labels of the last weeks, or go back to that model with a rollback.",
        decide="Run `taskclf-dagster registry repair`, then retrain with force.",
        shows="change",
    ),
    "no_user_clearly_worse": GateText(
        title="Not clearly worse for any person",
        passed="It is shown to be clearly worse for nobody: for {group}, for whom it is nearest to that, {chance}.",
        failed="It is clearly worse for {group}: {chance}.",
        asks="it is clearly worse for any person",
        improve="Label more stretches of {whom}, and check the newest labels of {whom}.",
        decide=_COMPARE_MORE,
        shows="share",
    ),
    "no_class_clearly_worse": GateText(
        title="Not clearly worse at any label",
        passed="It is shown to be clearly worse at no label: at {group}, which is nearest to that, {chance}.",
        failed="It is clearly worse at {group}: {chance}.",
        asks="it is clearly worse at any label",
        improve="Label more stretches of {whom}, and check the newest labels of it.",
        decide=_COMPARE_MORE,
        shows="share",
    ),
    "no_slice_clearly_worse": GateText(
        title="Not clearly worse in any app or hour",
        passed="It is shown to be clearly worse in no app, hour or other kind of use: in {group}, which is nearest to that, {chance}.",
        failed="It is clearly worse in {group}: {chance}.",
        asks="it is clearly worse in any app or hour",
        improve="Label more stretches of {whom}, and check the newest labels of it.",
        decide=_COMPARE_MORE,
        shows="share",
    ),
    "negative_flips": GateText(
        title="Few minutes become wrong",
        passed="{observed} of the compared minutes are right now and would become wrong; up to {threshold} is allowed.",
        failed="Too many minutes become wrong: {observed} of those compared are right now and would not be, up to {threshold} is allowed.",
        asks="few minutes become wrong that are right now",
        improve="The new model is about as good, but other minutes are wrong. Keep the running one, and label more days.",
        decide=_COMPARE_MORE,
        shows="share",
    ),
    "not_rolled_back": GateText(
        title="Not a model that you went back from",
        passed="It is no model that a rollback left.",
        failed="You went back from this very model earlier: {detail}.",
        asks="a rollback left this model",
        improve="Label more before you retrain, so that another model is trained; or allow it again with `taskclf-dagster unblock`.",
        decide="Run `taskclf-dagster registry repair`, then retrain with force.",
        shows="nothing",
    ),
}


REJECTS_TOO_OFTEN = "Label more of the work that it is unsure about: `taskclf-dagster suggest` lists it."


REJECTS_TOO_RARELY = "It is more certain than its test allows to believe. Label more different work on more days."
