// Written by tests/javascript/payload_types.py from the Python types: do not edit.

/** A metric at each threshold with its 95 % interval; None where it is undefined. */
export interface Band {
  value: (number | null)[];
  low: (number | null)[];
  high: (number | null)[];
}

/** A tenth of the test triples, by score. */
export interface CalibrationBin {
  mean_score: number;
  acceptance_rate: number;
  triples: number;
}

/** A value, such as the name of a column, and its title. */
export interface Choice {
  value: string;
  title: string;
}

/** A critic's metrics and cost, on triples that all compared critics have scored. */
export interface ComparedCritic {
  average_precision: Estimate;
  auroc: Estimate;
  best_f1: Estimate;
  f1_at_08: Estimate;
  precision_in_top_fifth: Estimate;
  brier: Estimate;
  calibration_error: Estimate;
  critic: string;
  triples: number;
  seconds_per_1000: number | null;
  usd_per_1000: number | null;
}

/** Critics on the same test triples: the columns of a table, and its rows. */
export interface Comparison {
  columns: Choice[];
  rows: ComparedCritic[];
}

/** A trained critic in the page's list. */
export interface CriticSummary {
  name: string;
  kind: string;
  simulated: boolean;
  average_precision: Estimate;
  acceptance_rate: number | null;
  labelled_triples: number | null;
  test_triples: number | null;
  test_images: number;
}

/** A critic's threshold curve and calibration, and how many triples each threshold keeps. */
export interface CurveData {
  curve: CurveTable;
  kept: number[];
  scored_triples: number;
  calibration: CalibrationBin[];
  dimensions: Choice[];
}

/** Precision, recall and F1 of accepting by threshold, ascending; at most 400 thresholds. */
export interface CurveTable {
  threshold: number[];
  precision: Band;
  recall: Band;
  f1: Band;
  kept_share: number[];
}

/** A figure with its 95 % interval; None where it is undefined. */
export interface Estimate {
  value: number | null;
  low: number | null;
  high: number | null;
}

/** Result of certifying a threshold for a target precision on calibration labels. */
export interface Guarantee {
  target: number;
  confidence: number;
  threshold: number | null;
  measured_precision: number | null;
  kept_share: number;
  labelled_triples: number;
  images: number;
  labels_needed: number | null;
}

/** Whether there are enough labels to train on, of people and with simulated annotators. */
export interface LabelStatus {
  people: Readiness;
  simulated: Readiness;
}

/** A batch that was created, and its number of triples. */
export interface LabelingBatch {
  batch: string;
  triples: number;
}

/** What can be labelled for a threshold, and how precise precision is known. */
export interface LabelingForecast {
  available: number;
  labelled_triples: number;
  interval_width: number | null;
}

/** What labelling for a purpose would bring. */
export interface LabelingOption {
  forecast: LabelingForecast;
  width_after: number | null;
}

/** What labelling would bring, by purpose. */
export interface LabelingOptions {
  estimate: LabelingOption;
  guarantee: LabelingOption;
}

/** Triples that only one of two releases keeps. */
export interface OnlyIn {
  release: string;
  triples: number;
  examples: string[];
}

/** Everything that the page shows at first; lists are newest first, the history oldest first. */
export interface Overview {
  labels: LabelStatus | null;
  critics: CriticSummary[];
  releases: ReleaseSummary[];
  retraining: RetrainingStatus | null;
  history: TrainedCritic[];
  can_simulate: boolean;
}

/** Whether there are enough labels to train on. */
export interface Readiness {
  labelled: number;
  accepted: number;
  images: number;
  missing: string | null;
}

/** Two releases side by side. */
export interface ReleaseComparison {
  kept_by_both: number;
  only_first: OnlyIn;
  only_second: OnlyIn;
}

/** A release in the page's list. */
export interface ReleaseSummary {
  name: string;
  critic: string;
  threshold: number;
  simulated: boolean;
  kept: number;
  note: string;
  precision: Estimate;
}

/** The schedule of automatic retraining, and the votes since the last training. */
export interface RetrainingStatus {
  every: number;
  votes: number;
  kind: string;
  error: string;
}

/** A triple near the threshold, with its votes so far. */
export interface ScoredTriple {
  triple_id: number;
  score: number;
  is_kept: boolean;
  accepts: number;
  votes: number;
}

/** One value of a dimension: metrics on labelled test triples, and shares of all triples. */
export interface Slice {
  value: string;
  labelled_triples: number;
  acceptance_rate: number | null;
  precision: Estimate;
  recall: number | null;
  share_of_all: number | null;
  share_of_kept: number | null;
}

/** A critic in the history of critics. */
export interface TrainedCritic {
  name: string;
  kind: string;
  labelled_triples: number | null;
  average_precision: Estimate;
}

/** Whether a training is running; the run of the last one, or why it failed. */
export interface TrainingState {
  is_running: boolean;
  run: string | null;
  error: string;
}
