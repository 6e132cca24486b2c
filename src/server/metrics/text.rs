//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use crate::model::metrics::{BUCKETS, Histogram};

/// The page under construction.
#[derive(Debug, Default)]
pub(super) struct MetricsText(String);

impl MetricsText {
    /// Begins a family; its samples follow.
    pub(super) fn family(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
    ) -> Family<'_> {
        _ = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        Family { page: self, name }
    }

    /// A family of one sample without labels.
    pub(super) fn single(
        &mut self,
        name: &'static str,
        kind: &'static str,
        help: &'static str,
        value: impl Display,
    ) {
        self.family(name, kind, help).sample(&[], value);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// One family.
pub(super) struct Family<'p> {
    page: &'p mut MetricsText,
    name: &'static str,
}

impl Family<'_> {
    pub(super) fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) -> &mut Self {
        self.line("", labels, value);
        self
    }

    /// The samples of one histogram: cumulative buckets, sum and count.
    pub(super) fn histogram(&mut self, label: (&str, &str), histogram: &Histogram) {
        let bounds = BUCKETS.iter().map(|micros| seconds(*micros)).chain(["+Inf".to_owned()]);
        let mut below = 0;
        for (count, bound) in histogram.buckets.iter().zip(bounds) {
            below += count;
            self.line("_bucket", &[label, ("le", &bound)], below);
        }
        self.line("_sum", &[label], seconds(histogram.micros));
        self.line("_count", &[label], below);
    }

    fn line(&mut self, suffix: &str, labels: &[(&str, &str)], value: impl Display) {
        let out = &mut self.page.0;
        _ = write!(out, "{}{suffix}", self.name);
        for (at, (name, value)) in labels.iter().enumerate() {
            _ = write!(out, "{}{name}=\"", if at == 0 { '{' } else { ',' });
            for c in value.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    c => out.push(c),
                }
            }
            out.push('"');
        }
        _ = writeln!(out, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }
}

/// Microseconds as seconds, exactly.
fn seconds(micros: u64) -> String {
    let text = format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped_and_histograms_add_up() {
        let mut page = MetricsText::default();
        page.family("a_total", "counter", "A.").sample(&[("route", "x\"\\\n"), ("b", "c")], 3);
        page.single("up", "gauge", "Up.", 1);
        let mut histogram = Histogram { micros: 1_500_000, ..Histogram::default() };
        histogram.buckets[0] = 2;
        histogram.buckets[BUCKETS.len()] = 1;
        page.family("d_seconds", "histogram", "D.").histogram(("route", "r"), &histogram);
        let text = page.finish();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], r#"a_total{route="x\"\\\n",b="c"} 3"#);
        assert_eq!(lines[5], "up 1");
        assert_eq!(lines[8], r#"d_seconds_bucket{route="r",le="0.0005"} 2"#);
        assert_eq!(lines[lines.len() - 3], r#"d_seconds_bucket{route="r",le="+Inf"} 3"#);
        assert_eq!(lines[lines.len() - 2], r#"d_seconds_sum{route="r"} 1.5"#);
        assert_eq!(lines[lines.len() - 1], r#"d_seconds_count{route="r"} 3"#);
        assert_eq!(
            (seconds(0), seconds(60_000_000), seconds(10)),
            ("0".into(), "60".into(), "0.00001".into())
        );
    }
}
