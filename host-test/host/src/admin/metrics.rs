//! `GET /metrics`: what the host knows, in the text format of Prometheus.

use std::fmt;

use axum::extract::State;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, NoLabelSet, prometheus_text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Admin;
use super::health::{PHASES, phase_name};
use crate::account::metrics::Histogram;
use crate::account::{Handle, Status, state_name};

/// The metrics of all accounts.
pub async fn metrics(State(admin): State<Admin>) -> impl IntoResponse {
    let text = text(Accounts(admin.statuses().await));
    ([(CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text)
}

fn text(collector: impl Collector) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = prometheus_text::encode(&mut text, &registry);
    text
}

/// The accounts at the moment of one request.
struct Accounts(Vec<(Handle, Status)>);

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").finish_non_exhaustive()
    }
}

impl Collector for Accounts {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page {
            encoder,
            accounts: &self.0,
        };
        page.statuses()?;
        page.shares()?;
        page.messages()
    }
}

/// Writes families, each with samples of all accounts.
struct Page<'a, 'e> {
    encoder: DescriptorEncoder<'e>,
    accounts: &'a [(Handle, Status)],
}

/// A label besides the account's.
type Label = (&'static str, &'static str);

impl Page<'_, '_> {
    /// How the accounts do.
    fn statuses(&mut self) -> fmt::Result {
        self.labelled_gauge(
            "channel_phase",
            "1 for the account's phase, 0 for the others.",
            |_, status| {
                PHASES.map(|phase| {
                    (
                        ("phase", phase_name(phase)),
                        u64::from(phase == status.phase),
                    )
                })
            },
        )?;
        self.gauge(
            "channel_unacknowledged",
            "Messages that the agent has not dealt with.",
            |_, status| status.unacknowledged,
        )?;
        self.gauge(
            "channel_queued",
            "Posts that are stored and not settled.",
            |_, status| status.queued,
        )?;
        self.gauge(
            "channel_last_poll_timestamp_seconds",
            "When a poll was last answered well.",
            |_, status| status.last_poll_ms.map(seconds),
        )?;
        self.gauge(
            "channel_last_send_timestamp_seconds",
            "When the platform last accepted a message.",
            |_, status| status.last_send_ms.map(seconds),
        )?;
        self.gauge(
            "channel_memory_bytes",
            "Linear memory of the instance.",
            |_, status| status.memory_bytes,
        )?;
        Ok(())
    }

    /// What the accounts take of the host.
    fn shares(&mut self) -> fmt::Result {
        self.gauge(
            "channel_host_bytes",
            "What the host holds for the account beside that.",
            |account, _| Some(account.tenant().budget().used()),
        )?;
        self.gauge(
            "channel_host_limit_bytes",
            "What the host may hold for the account.",
            |account, _| Some(account.tenant().budget().limit()),
        )?;
        self.gauge(
            "channel_connections",
            "Connections that were opened for the account, those included that wait for a request.",
            |account, _| Some(account.tenant().share.connections()),
        )?;
        self.gauge(
            "channel_connections_limit",
            "Connections that may be open for the account.",
            |account, _| Some(account.tenant().share.connections_limit()),
        )?;
        self.counter(
            "channel_stored_written_bytes",
            "Bytes of keys and values that the account has written to its store.",
            |account| account.tenant().written(),
        )?;
        self.counter(
            "channel_log_lines_dropped",
            "Lines that the component caused and that were not logged, since it logs too much.",
            |account| account.tenant().dropped_lines(),
        )?;
        Ok(())
    }

    /// What became of messages, requests and posts.
    fn messages(&mut self) -> fmt::Result {
        self.counter(
            "channel_instance_restarts",
            "Instances that ended and were replaced.",
            |account| account.metrics().restarts.get(),
        )?;
        self.counter(
            "channel_swaps",
            "Components that took over and connected.",
            |account| account.metrics().swaps.get(),
        )?;
        self.counter(
            "channel_messages",
            "Messages that the platform brought.",
            |account| account.metrics().messages.get(),
        )?;
        self.gauge(
            "channel_requests_open",
            "Requests to the platform that are open; a poll hangs in one.",
            |account, _| Some(account.tenant().requests.open()),
        )?;
        self.requests()?;
        self.histogram(
            "channel_answer_seconds",
            "From a message's arrival to the end of what its answer took.",
            |account| &account.metrics().answers,
        )?;
        self.counter(
            "channel_agent_messages",
            "Messages given to the agent; one that is given again counts again.",
            |account| account.metrics().agent_messages.get(),
        )?;
        self.counter(
            "channel_agent_failures",
            "How often the agent did not answer a message.",
            |account| account.metrics().agent_failures.get(),
        )?;
        self.labelled_counter(
            "channel_agent_errors",
            "The same by the kind of the failure.",
            |account| {
                let errors = account.metrics().agent_errors();
                errors
                    .map(|(kind, count)| (("kind", kind), count))
                    .collect()
            },
        )?;
        self.counter(
            "channel_put_aside",
            "Messages that were put aside, because the agent has no answer to them.",
            |account| account.metrics().put_aside.get(),
        )?;
        self.counter(
            "channel_outage_notices",
            "How often a person was told that an answer is late, because the agent fails.",
            |account| account.metrics().outage_notices.get(),
        )?;
        self.labelled_counter(
            "channel_parts",
            "Parts of posts by the state that receipts told of; what was queued counts again later.",
            |account| {
                let parts = account.metrics().parts();
                parts.map(|(state, count)| (("state", state_name(state)), count)).collect()
            },
        )?;
        Ok(())
    }

    /// A gauge; an account whose value is not known is left out.
    fn gauge<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&Handle, &Status) -> Option<V>,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (account, status) in self.accounts {
            if let Some(value) = value(account, status) {
                let labels = [("account", account.id())];
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    fn labelled_gauge<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Fn(&Handle, &Status) -> [(Label, u64); N],
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (account, status) in self.accounts {
            for (label, value) in values(account, status) {
                let labels = [("account", account.id()), label];
                family.encode_family(&labels)?.encode_gauge(&value)?;
            }
        }
        Ok(())
    }

    /// A counter, whose name gets `_total` at its end.
    fn counter(&mut self, name: &str, help: &str, value: impl Fn(&Handle) -> u64) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (account, _) in self.accounts {
            let labels = [("account", account.id())];
            let mut sample = family.encode_family(&labels)?;
            sample.encode_counter::<NoLabelSet, u64, u64>(&value(account), None)?;
        }
        Ok(())
    }

    fn labelled_counter(
        &mut self,
        name: &str,
        help: &str,
        values: impl Fn(&Handle) -> Vec<(Label, u64)>,
    ) -> fmt::Result {
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (account, _) in self.accounts {
            for (label, value) in values(account) {
                let labels = [("account", account.id()), label];
                let mut sample = family.encode_family(&labels)?;
                sample.encode_counter::<NoLabelSet, u64, u64>(&value, None)?;
            }
        }
        Ok(())
    }

    fn requests(&mut self) -> fmt::Result {
        let help =
            "Requests to the platform by path and outcome: the status, or failed without one.";
        let name = "channel_requests";
        let mut family = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (account, _) in self.accounts {
            for (path, outcome, count) in account.tenant().requests.ended() {
                let labels = [
                    ("account", account.id()),
                    ("path", &*path),
                    ("outcome", outcome),
                ];
                let mut sample = family.encode_family(&labels)?;
                sample.encode_counter::<NoLabelSet, u64, u64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &str,
        value: impl Fn(&Handle) -> &Histogram,
    ) -> fmt::Result {
        let kind = MetricType::Histogram;
        let mut family = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (account, _) in self.accounts {
            let labels = [("account", account.id())];
            let histogram = value(account);
            let (count, sum_ms) = histogram.total();
            let buckets = histogram.buckets();
            let buckets: Vec<(f64, u64)> = buckets
                .map(|(bound, count)| (seconds(bound), count))
                .collect();
            let mut sample = family.encode_family(&labels)?;
            sample.encode_histogram::<NoLabelSet>(seconds(sum_ms), count, &buckets, None)?;
        }
        Ok(())
    }
}

fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct OneAccount(&'static str);

    impl Collector for OneAccount {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut family = encoder.encode_descriptor("x", "Help.", None, MetricType::Gauge)?;
            let labels = [("account", self.0)];
            let mut sample = family.encode_family(&labels)?;
            sample.encode_gauge(&seconds(1_795_359_559_036))
        }
    }

    #[test]
    fn labels_and_numbers_are_as_prometheus_reads_them() {
        let page = text(OneAccount("a\\b\"c\nd@im.bot"));
        let sample = page.lines().last().unwrap();
        assert_eq!(
            sample,
            "x{account=\"a\\\\b\\\"c\\nd@im.bot\"} 1795359559.036"
        );
    }
}
