//! Records per sweep as a small picture.

use chrono::{DateTime, Utc};

use super::html::Html;
use super::words::{grouped, instant};
use crate::service::watch::{Point, RECENT};

/// Units of the picture: a bar and its gap, and the height of the highest.
const STEP: usize = 8;
const HEIGHT: f64 = 48.0;
/// A sweep without records leaves a trace.
const LEAST: f64 = 1.0;

/// Draws a bar for each sweep, the highest over the whole height.
pub(super) fn draw(html: &mut Html, sweeps: &[Point], now: DateTime<Utc>) {
    let most = sweeps.iter().map(|point| point.records).max().unwrap_or(0);
    let label = format!("Records of the last {} sweeps; at most {}", sweeps.len(), grouped(most));
    html.raw("<figure><svg class=\"chart\" role=\"img\" preserveAspectRatio=\"none\" viewBox=\"0 0 ");
    html.text(format!("{} {HEIGHT}", RECENT * STEP)).raw("\" aria-label=\"");
    html.text(&label).raw("\">");
    for (number, point) in sweeps.iter().enumerate() {
        let height =
            if most == 0 { LEAST } else { LEAST + (HEIGHT - LEAST) * (point.records as f64 / most as f64) };
        let troubled = point.failed + point.quarantined > 0;
        html.raw(if troubled { "<rect class=\"bad\" x=\"" } else { "<rect x=\"" });
        html.text((number * STEP + 1).to_string()).raw("\" y=\"").text(format!("{:.1}", HEIGHT - height));
        html.raw("\" width=\"").text((STEP - 2).to_string());
        html.raw("\" height=\"").text(format!("{height:.1}")).raw("\"><title>");
        html.text(format!("{}: {} records", instant(point.at, now), grouped(point.records)));
        html.raw("</title></rect>");
    }
    html.raw("</svg><figcaption>").text(label).raw("</figcaption></figure>");
}
