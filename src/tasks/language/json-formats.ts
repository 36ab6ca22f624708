/**
 * `format` as patterns (https://json-schema.org/draft/2020-12, section 7.3): what they match is of the format. Of a
 * February there are 28 days, mail addresses are those without quotes, IPv6 those written out, and URIs those of the web.
 */
const day = "(?:0[1-9]|1\\d|2[0-8])";
const date = `\\d{4}-(?:(?:0[13578]|1[02])-(?:${day}|29|30|31)|(?:0[469]|11)-(?:${day}|29|30)|02-${day})`;
const hours = "(?:[01]\\d|2[0-3]):[0-5]\\d";
const time = `${hours}:[0-5]\\d(?:\\.\\d{1,6})?(?:Z|[+-]${hours})`;
const byte = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}";
const label = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,20}[A-Za-z0-9])?";
const n = "\\d{1,4}";
/** Of RFC 3339, appendix A: units one after the other, none left out between. */
const dayTime = `T(?:${n}H(?:${n}M(?:${n}S)?)?|${n}M(?:${n}S)?|${n}S)`;
const days = `(?:${n}Y(?:${n}M(?:${n}D)?)?|${n}M(?:${n}D)?|${n}D)`;
const urlText = "[A-Za-z0-9._~-]{0,40}";

export const formats: Readonly<Record<string, string>> = {
  date: `^${date}$`,
  time: `^${time}$`,
  "date-time": `^${date}T${time}$`,
  duration: `^P(?:${n}W|${dayTime}|${days}(?:${dayTime})?)$`,
  uuid: "^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$",
  email: `^${atom}(?:\\.${atom}){0,2}@${label}(?:\\.${label}){1,3}$`,
  hostname: `^${label}(?:\\.${label}){0,3}$`,
  uri: `^https?://(?:${label}\\.){1,3}[a-z]{2,10}(?:/${urlText}){0,6}(?:\\?[A-Za-z0-9._~=&-]{0,60})?(?:#${urlText})?$`,
  ipv6: "^(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$",
  ipv4: `^(?:${byte}\\.){3}${byte}$`,
};
