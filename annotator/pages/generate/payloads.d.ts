// Written by tests/javascript/payload_types.py from the Python types: do not edit.

/** Calls, tokens and cost of a run; None where something is unknown. */
export interface CostEstimate {
  calls: number;
  answered_before: number;
  awaiting_collection: number;
  skipped_images: Record<string, number>;
  images_in_other_language: number;
  prompt_tokens: number;
  exact_token_count: boolean;
  image_tokens_included: boolean | null;
  max_completion_tokens: number;
  expected_completion_tokens: number | null;
  max_cost_usd: number | null;
  expected_cost_usd: number | null;
}

/** An image with its regions and texts, and the prompt that a task makes of them. */
export interface ImagePreview {
  image: ImageRecord;
  regions: Region[];
  mentioned: number[];
  texts: ImageText[];
  skip_reason: string | null;
  version: string;
  messages: Record<string, string>[];
}

/** An image's size in pixels, where it comes from, and the URL that the web app serves it at. */
export interface ImageRecord {
  id: number;
  width: number;
  height: number;
  title: string;
  author: string;
  licence: string;
  origin: string;
  url: string;
}

/** A stored text about an image. */
export interface ImageText {
  region: number | null;
  kind: string;
  text: string;
  answer: string;
  model: string;
}

/** Whether a run is in progress, how far it is, and why the last one failed. */
export interface JobState {
  running: boolean;
  pausing: boolean;
  done: number;
  total: number;
  waiting_seconds: number;
  failure: string;
}

/** The newest runs, what all runs have cost, and what was rejected. */
export interface Overview {
  images: number;
  spent_usd: number;
  runs: RunSummary[];
  rejected: RejectionReason[];
}

/** A numbered region of an image, to which `[number]` in a text refers. */
export interface Region {
  number: number;
  box: [number, number, number, number];
  polygons: [number, number][][];
  label: string;
}

/** Something that validation rejected. */
export interface RejectedText {
  reason: string;
  detail: string;
  text: string;
}

/** How often validation rejected something for a reason, with its latest examples. */
export interface RejectionReason {
  reason: string;
  count: number;
  examples: RejectedText[];
}

/** What a run wrote about an image: the texts of each row, and what was rejected. */
export interface RunOutput {
  run: string;
  kept: string[][];
  rejected: RejectedText[];
}

/** A generation run in the table of runs. */
export interface RunSummary {
  name: string;
  status: string;
  stopped: string;
  task: string;
  model: string;
  prompt: string;
  replies: number;
  failed_calls: number;
  kept: number;
  rejected: number;
  cost_usd: number;
}
