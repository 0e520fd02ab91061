"""What retraining means, in plain Python: no Dagster, no clock, no environment.

Where a change goes, from the ground up:

- files: filesystem (the seam), files, findings
- data: features, windows, labels, projection, labeled, split, feasibility, snapshot, hashing
- model: encoding, training, bundle, manifest, challenger, reproduction, baseline
- figures: evaluation, calibration_curves, reports, changes
- evidence: leakage, evidence, comparison, anchor, head_to_head
- decision: gates, comparative_gates, decision, pipeline, cadence, triggers
- registry, reading: pointer, history, selection, champion, fsck
- registry, writing: transition, recovery, registry, promotion, retention
- events: events, outbox, decision_events, sinks, delivery
"""
