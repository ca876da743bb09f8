//! `GET /metrics`: what the host knows, in the text format of Prometheus.

use std::fmt::Write;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;

use super::Admin;
use super::health::{PHASES, phase_name};
use crate::account::metrics::Histogram;
use crate::account::{Handle, Status, state_name};

/// The metrics of all accounts.
pub async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let text = text(&admin.statuses().await);
    (
        [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")],
        text,
    )
}

fn text(accounts: &[(Handle, Status)]) -> String {
    let mut page = Page::default();
    page.family(
        "channel_phase",
        "gauge",
        "1 for the account's phase, 0 for the others.",
    );
    for (account, status) in accounts {
        for phase in PHASES {
            let value = u8::from(phase == status.phase);
            page.sample(account, Some(("phase", phase_name(phase))), value);
        }
    }
    page.family(
        "channel_unacknowledged",
        "gauge",
        "Messages that the agent has not dealt with.",
    );
    for (account, status) in accounts {
        page.known(account, status.unacknowledged);
    }
    page.family(
        "channel_queued",
        "gauge",
        "Posts that are stored and not settled.",
    );
    for (account, status) in accounts {
        page.known(account, status.queued);
    }
    page.family(
        "channel_last_poll_timestamp_seconds",
        "gauge",
        "When a poll was last answered well.",
    );
    for (account, status) in accounts {
        page.known(account, status.last_poll_ms.map(seconds));
    }
    page.family(
        "channel_last_send_timestamp_seconds",
        "gauge",
        "When the platform last accepted a message.",
    );
    for (account, status) in accounts {
        page.known(account, status.last_send_ms.map(seconds));
    }
    page.family(
        "channel_memory_bytes",
        "gauge",
        "Linear memory of the instance.",
    );
    for (account, status) in accounts {
        page.known(account, status.memory_bytes);
    }
    page.family(
        "channel_host_bytes",
        "gauge",
        "What the host holds for the account beside that.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().budget().used());
    }
    page.family(
        "channel_host_limit_bytes",
        "gauge",
        "What the host may hold for the account.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().budget().limit());
    }
    page.family(
        "channel_connections",
        "gauge",
        "Connections that were opened for the account, those included that wait for a request.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().share.connections());
    }
    page.family(
        "channel_connections_limit",
        "gauge",
        "Connections that may be open for the account.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().share.connections_limit());
    }
    page.family(
        "channel_stored_written_bytes_total",
        "counter",
        "Bytes of keys and values that the account has written to its store.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().written());
    }
    page.family(
        "channel_log_lines_dropped_total",
        "counter",
        "Lines that the component caused and that were not logged, since it logs too much.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().dropped_lines());
    }
    page.family(
        "channel_instance_restarts_total",
        "counter",
        "Instances that ended and were replaced.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().restarts.get());
    }
    page.family(
        "channel_swaps_total",
        "counter",
        "Components that took over and connected.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().swaps.get());
    }
    page.family(
        "channel_messages_total",
        "counter",
        "Messages that the platform brought.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().messages.get());
    }
    page.family(
        "channel_requests_open",
        "gauge",
        "Requests to the platform that are open; a poll hangs in one.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.tenant().requests.open());
    }
    page.family(
        "channel_requests_total",
        "counter",
        "Requests to the platform by path and outcome: the status, or failed without one.",
    );
    for (account, _) in accounts {
        for (path, outcome, count) in account.tenant().requests.ended() {
            page.labelled(account, &[("path", &path), ("outcome", outcome)], count);
        }
    }
    page.family(
        "channel_answer_seconds",
        "histogram",
        "From a message's arrival to the end of what its answer took.",
    );
    for (account, _) in accounts {
        page.histogram(account, &account.metrics().answers);
    }
    page.family(
        "channel_agent_messages_total",
        "counter",
        "Messages given to the agent; one that is given again counts again.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().agent_messages.get());
    }
    page.family(
        "channel_agent_failures_total",
        "counter",
        "How often the agent did not answer a message.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().agent_failures.get());
    }
    page.family(
        "channel_agent_errors_total",
        "counter",
        "The same by the kind of the failure.",
    );
    for (account, _) in accounts {
        for (kind, count) in account.metrics().agent_errors() {
            page.sample(account, Some(("kind", kind)), count);
        }
    }
    page.family(
        "channel_put_aside_total",
        "counter",
        "Messages that were put aside, because the agent has no answer to them.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().put_aside.get());
    }
    page.family(
        "channel_outage_notices_total",
        "counter",
        "How often a person was told that an answer is late, because the agent fails.",
    );
    for (account, _) in accounts {
        page.sample(account, None, account.metrics().outage_notices.get());
    }
    page.family(
        "channel_parts_total",
        "counter",
        "Parts of posts by the state that receipts told of; what was queued counts again later.",
    );
    for (account, _) in accounts {
        for (state, count) in account.metrics().parts() {
            page.sample(account, Some(("state", state_name(state))), count);
        }
    }
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn known(&mut self, account: &Handle, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.sample(account, None, value);
        }
    }

    fn histogram(&mut self, account: &Handle, histogram: &Histogram) {
        let name = escaped(account.id());
        let (count, sum_ms) = histogram.total();
        let bounds = histogram
            .cumulative()
            .map(|(bound, count)| (seconds(bound), count))
            .chain([("+Inf".to_owned(), count)]);
        for (bound, count) in bounds {
            let _ = writeln!(
                self.text,
                "{}_bucket{{account=\"{name}\",le=\"{bound}\"}} {count}",
                self.name
            );
        }
        let sum = seconds(sum_ms);
        let _ = writeln!(
            self.text,
            "{0}_sum{{account=\"{name}\"}} {sum}\n{0}_count{{account=\"{name}\"}} {count}",
            self.name
        );
    }

    fn sample(
        &mut self,
        account: &Handle,
        label: Option<(&str, &str)>,
        value: impl std::fmt::Display,
    ) {
        self.labelled(account, label.as_slice(), value);
    }

    fn labelled(
        &mut self,
        account: &Handle,
        labels: &[(&str, &str)],
        value: impl std::fmt::Display,
    ) {
        let (name, account) = (self.name, escaped(account.id()));
        let _ = write!(self.text, "{name}{{account=\"{account}\"");
        for (label, value) in labels {
            let _ = write!(self.text, ",{label}=\"{}\"", escaped(value));
        }
        let _ = writeln!(self.text, "}} {value}");
    }
}

fn escaped(label: &str) -> String {
    label
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_and_numbers_are_as_prometheus_reads_them() {
        assert_eq!(escaped("a\\b\"c\nd@im.bot"), "a\\\\b\\\"c\\nd@im.bot");
        assert_eq!(seconds(1_795_359_559_036), "1795359559.036");
    }
}
