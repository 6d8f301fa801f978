// Written by tests/javascript/payload_types.py from the Python types: do not edit.

/** An image with its regions. */
export interface AnnotatedImage {
  image: DemoImage;
  regions: Region[];
}

/** A student's answer. Regions in its texts are numbered from 0, as on the view. */
export interface Answer {
  question: string;
  answer: string;
  rationale: string;
  seconds: number;
  confidence: number | null;
}

/** A student's figures in per cent, by column; those it was not evaluated on are missing. */
export interface ComparisonRow {
  student: string;
  figures: Record<string, Estimate>;
}

/** An image, and whether it was held out of training. */
export interface DemoImage {
  id: number;
  width: number;
  height: number;
  title: string;
  author: string;
  licence: string;
  origin: string;
  url: string;
  held_out: boolean;
}

/** A wrong item; `image_url` is empty if the image's file is missing. */
export interface ErrorItem {
  key: string;
  image_url: string;
  questions: ErrorQuestion[];
}

/** Number of all items and of wrong items of a benchmark, and some of the wrong ones. */
export interface ErrorPage {
  items: number;
  wrong: number;
  rows: ErrorItem[];
}

/** A question of a wrong item; `target` is empty if it is not one of the choices. */
export interface ErrorQuestion {
  question: string;
  prediction: string;
  target: string;
}

/** A figure with its 95 % interval; None where it is undefined. */
export interface Estimate {
  value: number | null;
  low: number | null;
  high: number | null;
}

/** Losses of a run as pairs of step and loss, and its answers during training. */
export interface LearningCurve {
  name: string;
  status: string;
  loss: [number, number | null][];
  held_out_loss: [number, number][];
  evaluations: SampledStep[];
}

/** Images (those held out of training last), and students and releases, newest first. */
export interface Overview {
  images: DemoImage[];
  students: StudentItem[];
  releases: string[];
}

/** A numbered region of an image, to which `[number]` in a text refers. */
export interface Region {
  number: number;
  box: [number, number, number, number];
  polygons: [number, number][][];
  label: string;
}

/** A student's answer to a held-out question during training. */
export interface Sample {
  image_id: number;
  question: string;
  reference: string;
  prediction: string;
}

/** Answers to held-out questions after a step of training. */
export interface SampledStep {
  step: number;
  samples: Sample[];
}

/** Figures of students, one column per figure. */
export interface StudentComparison {
  columns: string[];
  rows: ComparisonRow[];
}

/** A student, its model and training data, and the benchmarks it was evaluated on. */
export interface StudentItem {
  name: string;
  kind: string;
  model: string;
  is_tiny: boolean;
  captioner: string | null;
  release: string | null;
  triples: number | null;
  simulated: boolean;
  benchmarks: string[];
}

/** The state of a run in training; the loss is None before the first step. */
export interface TrainingProgress {
  name: string;
  step: number;
  steps: number;
  loss: number | null;
}

/** Whether a training is running; the run of the last one, or why it failed. */
export interface TrainingState {
  is_running: boolean;
  run: string | null;
  error: string;
}
