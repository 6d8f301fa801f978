// @ts-check
import js from "@eslint/js";
import globals from "globals";

/** Texts of models and people must not become HTML: insert them by textContent, or as text nodes. */
const AS_HTML = ["innerHTML", "outerHTML", "insertAdjacentHTML", "createContextualFragment", "srcdoc"];

export default [
  { ignores: ["build/", ".venv/", "**/*.d.ts"] },
  js.configs.recommended,
  {
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      "array-callback-return": "error",
      "eqeqeq": "error",
      "max-lines": ["error", 400],
      "no-eval": "error",
      "no-implied-eval": "error",
      "no-new-func": "error",
      "no-restricted-properties": [
        "error",
        ...AS_HTML.map((property) => ({ property, message: "Text becomes HTML: use textContent or append." })),
        { object: "document", property: "write", message: "Text becomes HTML: use append." },
        { property: "setHTMLUnsafe", message: "Text becomes HTML: use append." },
      ],
      "no-restricted-globals": ["error", { name: "window", message: "Modules share by import, not by globals." }],
      "no-shadow": "error",
      "no-undef-init": "error",
      "no-unused-expressions": "error",
      "no-useless-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-const": "error",
      "prefer-template": "error",
    },
  },
  { files: ["annotator/**/*.js"], languageOptions: { globals: globals.browser } },
  { files: ["tests/javascript/**/*.js", "*.js"], languageOptions: { globals: globals.nodeBuiltin } },
];
