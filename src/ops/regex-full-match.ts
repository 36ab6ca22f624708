import { UnsupportedOpError } from "../tensor/errors.ts";
import { expectDType } from "./check.ts";
import { defineOp } from "./op.ts";

export interface RegexFullMatchAttrs {
  /** In RE2 syntax. */
  pattern: string;
}

const posixClasses: Record<string, string> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7F",
  blank: "\\t ",
  cntrl: "\\x00-\\x1F\\x7F",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`\\{-~",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "0-9A-Za-z_",
  xdigit: "0-9A-Fa-f",
};

const isSyntax = (c: string): boolean => "^$\\.*+?()[]{}|/".includes(c);
const literal = (c: string): string => (isSyntax(c) ? `\\${c}` : c);

/** The escape at pattern[i] = "\\": what JavaScript writes for it, and where it ends. */
function escapeAt(pattern: string, i: number, inClass: boolean): [string, number] {
  const c = pattern[i + 1] ?? "";
  const rest = pattern.slice(i + 2);
  if (c === "A" && !inClass) return ["(?<![\\s\\S])", i + 2];
  if (c === "z" && !inClass) return ["(?![\\s\\S])", i + 2];
  if (c === "a") return ["\\x07", i + 2];
  // RE2's whitespace is ASCII without \v.
  if (c === "s") return [inClass ? "\\t\\n\\f\\r " : "[\\t\\n\\f\\r ]", i + 2];
  if (c === "S" && !inClass) return ["[^\\t\\n\\f\\r ]", i + 2];
  if (c === "Q" && !inClass) {
    const end = rest.indexOf("\\E");
    const text = end < 0 ? rest : rest.slice(0, end);
    return [Array.from(text, literal).join(""), i + 2 + text.length + (end < 0 ? 0 : 2)];
  }
  const code = /^\{([0-9A-Fa-f]+)\}/.exec(rest);
  if (c === "x" && code) return [`\\u{${code[1]}}`, i + 2 + code[0].length];
  if ((c === "p" || c === "P") && /^[A-Z]/.test(rest)) return [`\\${c}{${rest[0]}}`, i + 3];
  if (c === "p" || c === "P") {
    const name = /^\{(\^?)(\w+)\}/.exec(rest);
    if (!name) return [`\\${c}`, i + 2];
    const negated = (c === "P") !== (name[1] === "^");
    const property = name[2].length <= 2 ? name[2] : `Script=${name[2]}`;
    return [`\\${negated ? "P" : "p"}{${property}}`, i + 2 + name[0].length];
  }
  // Any other letter or digit means the same; RE2 lets punctuation be escaped needlessly, JavaScript doesn't.
  if (/\w/.test(c)) return [`\\${c}`, i + 2];
  return [inClass && c === "-" ? "\\-" : literal(c), i + 2];
}

/** The pattern as a JavaScript expression that matches whole strings. */
function compile(pattern: string): RegExp {
  let flags = "u";
  const lead = /^\(\?([ims]+)\)/.exec(pattern);
  if (lead) flags += [...new Set(lead[1])].join("");
  let out = "";
  let inClass = false;
  for (let i = lead ? lead[0].length : 0; i < pattern.length; ) {
    const rest = pattern.slice(i);
    const posix = inClass ? /^\[:(\^?)(\w+):\]/.exec(rest) : null;
    if (pattern[i] === "\\") {
      const [text, next] = escapeAt(pattern, i, inClass);
      out += text;
      i = next;
    } else if (posix && !posix[1] && Object.hasOwn(posixClasses, posix[2])) {
      out += posixClasses[posix[2]];
      i += posix[0].length;
    } else if (!inClass && rest.startsWith("(?P<")) {
      out += "(?<";
      i += 4;
    } else if (!inClass && pattern[i] === "[") {
      inClass = true;
      const open = /^\[\^?/.exec(rest)![0];
      out += open;
      i += open.length;
      // A bracket right after the opening is an element.
      if (pattern[i] === "]") {
        out += "\\]";
        i++;
      }
    } else if (inClass && pattern[i] === "]") {
      inClass = false;
      out += "]";
      i++;
    } else {
      out += inClass && pattern[i] === "[" ? "\\[" : pattern[i];
      i++;
    }
  }
  try {
    return new RegExp(`^(?:${out})$`, flags);
  } catch (cause) {
    throw new UnsupportedOpError(`regexFullMatch: pattern ${JSON.stringify(pattern)} is not supported`, {
      op: "regexFullMatch",
      cause,
    });
  }
}

/** Whether each string matches the whole pattern, as bool. UnsupportedOpError for a pattern JavaScript can't express. */
export const regexFullMatch = /* @__PURE__ */ defineOp({
  name: "regexFullMatch",
  inputs: ["x"],
  infer([x], { pattern }: RegexFullMatchAttrs) {
    expectDType("regexFullMatch", x, "string");
    compile(pattern);
    return { dtype: "bool", shape: x.shape };
  },
  reference([x], { pattern }, [y]) {
    const expression = compile(pattern);
    (x.data as string[]).forEach((s, i) => {
      (y.data as Uint8Array)[i] = expression.test(s) ? 1 : 0;
    });
  },
});
