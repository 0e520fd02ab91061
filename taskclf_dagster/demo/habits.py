"""Tables of numbers for the generator of demo homes: apps, and the habits of each task.

The days are generated in `demo.days`.
"""

import numpy as np

from taskclf_dagster.domain.data.feature_schema import LABELS

DRIFT_DAYS = 7
"""The last days of a new home, in which a new app appears and habits shift; days added later continue like them."""


NEW_APP = "dev.zed.Zed"


APPS = {
    "editor": ("com.microsoft.VSCode", "com.jetbrains.intellij", NEW_APP),
    "terminal": ("com.apple.Terminal", "com.googlecode.iterm2"),
    "browser": ("com.google.Chrome", "org.mozilla.firefox"),
    "chat": ("com.tinyspeck.slackmacgap",),
    "meeting": ("us.zoom.xos", "com.microsoft.teams2"),
    "email": ("com.apple.mail", "com.microsoft.Outlook"),
    "docs": ("com.apple.Notes", "com.microsoft.Word"),
    "file_manager": ("com.apple.finder",),
    "lockscreen": ("com.apple.loginwindow",),
}


APP_IDS = np.array([app for apps in APPS.values() for app in apps], dtype=object)


CATEGORIES = np.array([category for category, apps in APPS.items() for _ in apps], dtype=object)


SLOT = np.repeat(np.arange(len(APPS)), [len(apps) for apps in APPS.values()])


NEW, LOCK = 2, len(APP_IDS) - 1


DOMAINS = np.array(["code_hosting", "docs", "search", "productivity", "email_web", "video", "non_browser"], dtype=object)


BREAK, BUILD, COMMUNICATE, DEBUG, MEET, READ, REVIEW, WRITE = range(len(LABELS))


AWAY = -1


ODDS = len(LABELS)  # odds and ends: what people do for some minutes in the midst of any task


ODDS_CHANCE, ODDS_MINUTES = 0.048, 3


MINUTE_NOISE, BLOCK_NOISE = 0.32, 0.06  # spread of the logarithm of the rates


TITLES_PER_APP = 12


SESSION_GAP = 5  # minutes without a window, after which a new session begins


# Habits of a task, one row or entry a label in the order of LABELS. They overlap: no single column may give a label away.
MIX = np.array(
    [  # share of minutes in each category of APPS                       | share of browser minutes in each of DOMAINS
        [0.15, 0.02, 0.40, 0.20, 0.03, 0.10, 0.10, 0.00, 0.00, 0.05, 0.08, 0.15, 0.12, 0.15, 0.45],
        [0.58, 0.18, 0.14, 0.03, 0.00, 0.01, 0.03, 0.03, 0.00, 0.27, 0.36, 0.24, 0.06, 0.03, 0.04],
        [0.03, 0.01, 0.14, 0.40, 0.06, 0.30, 0.06, 0.00, 0.00, 0.07, 0.07, 0.08, 0.28, 0.47, 0.03],
        [0.34, 0.34, 0.22, 0.04, 0.00, 0.01, 0.03, 0.02, 0.00, 0.25, 0.31, 0.35, 0.05, 0.02, 0.02],
        [0.05, 0.01, 0.17, 0.09, 0.59, 0.03, 0.06, 0.00, 0.00, 0.08, 0.14, 0.06, 0.32, 0.06, 0.34],
        [0.06, 0.02, 0.58, 0.05, 0.02, 0.05, 0.19, 0.03, 0.00, 0.10, 0.36, 0.34, 0.07, 0.04, 0.09],
        [0.28, 0.05, 0.50, 0.08, 0.01, 0.02, 0.06, 0.00, 0.00, 0.56, 0.18, 0.08, 0.13, 0.03, 0.02],
        [0.15, 0.01, 0.22, 0.05, 0.00, 0.08, 0.47, 0.02, 0.00, 0.08, 0.19, 0.17, 0.50, 0.04, 0.02],
        [0.20, 0.08, 0.32, 0.11, 0.04, 0.06, 0.12, 0.07, 0.00, 0.18, 0.20, 0.18, 0.18, 0.14, 0.12],
    ]
)


DOMAIN_MIX = MIX[:, len(APPS) :].cumsum(axis=1)


INPUTS = ("keys_per_min", "shortcut_rate", "clicks_per_min", "scroll_events_per_min", "mouse_distance")


RATES = np.array(  # one row an input: the median in a minute of each task
    [
        [0.0, 78.0, 46.0, 26.0, 7.0, 3.0, 14.0, 132.0, 18.0],
        [0.0, 5.0, 0.8, 7.0, 0.3, 0.4, 1.5, 1.3, 1.3],
        [0.0, 6.5, 12.0, 15.0, 4.0, 6.0, 18.0, 3.5, 8.5],
        [0.0, 5.0, 6.0, 12.0, 1.5, 20.0, 26.0, 3.0, 8.0],
        [0.0, 300.0, 430.0, 700.0, 170.0, 390.0, 850.0, 200.0, 370.0],
    ]
)


KEY_FACTOR = np.array([1.1, 1.2, 0.7, 1.1, 0.6, 1.0, 1.2, 0.5, 0.0])  # on keys and shortcuts in each category of APPS


POINTER_FACTOR = np.array([1.0, 0.6, 1.3, 0.9, 0.7, 1.0, 0.9, 1.3, 0.0])


DRIFT_FACTOR = np.array([0.92, 1.00, 1.06, 1.10, 1.06])  # on each of INPUTS


QUIET = np.array([0.0, 0.03, 0.04, 0.05, 0.28, 0.14, 0.10, 0.04, 0.08])  # share of minutes with a twentieth of the usual input


BACKSPACE = np.array([0.05, 0.10, 0.09, 0.07, 0.06, 0.05, 0.06, 0.14, 0.08])


STAY = np.array([0.97, 0.80, 0.62, 0.72, 0.88, 0.80, 0.78, 0.82, 0.70])  # chance that the next minute stays in the same app


FLIPS = np.array([0.0, 0.7, 1.2, 1.3, 0.3, 0.5, 0.7, 0.4, 0.8])  # further app changes within a minute


LENGTH = np.array([11.0, 18.0, 15.0, 17.0, 21.0, 15.0, 15.0, 17.0])  # median minutes of a block


STARTS = np.array(  # weight of starting a block of each task
    [
        [0.6, 1.3, 3.6, 1.0, 1.0, 0.8, 1.1, 1.0],  # first hour
        [1.3, 1.4, 1.0, 1.2, 1.2, 1.0, 1.1, 1.3],  # morning
        [1.8, 1.0, 1.5, 0.9, 0.8, 1.3, 1.3, 1.0],  # before lunch
        [1.3, 1.0, 1.2, 1.1, 1.4, 1.1, 1.3, 1.1],  # after lunch
        [1.3, 1.4, 1.1, 1.5, 0.8, 1.1, 1.2, 1.3],  # afternoon
        [1.3, 1.0, 1.5, 1.0, 0.5, 1.5, 1.3, 1.6],  # late
    ]
)


DRIFT_LIKING = np.array([0.95, 0.90, 1.10, 0.95, 1.05, 1.05, 1.0, 1.1])


MEETINGS_BY_WEEKDAY = (1.4, 1.1, 0.7, 1.1, 0.8, 0.6, 0.6)


CONFUSED_WITH = np.array([BREAK, DEBUG, WRITE, BUILD, COMMUNICATE, REVIEW, READ, READ])
