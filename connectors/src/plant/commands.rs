//! The plant on a broker: it takes set-points, and it can publish its readings.

use std::time::Duration;

use lineshaft_engine::declaration::OptionError;
use lineshaft_engine::{Error, Result};
use rumqttc::{Packet, Publish, QoS, SubAck, SubscribeReasonCode};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::interval;

use super::model::{Plant, PlantOptions, SetPoint};
use super::source::to_json;
use crate::mqtt::connection::{Connection, Lost};
use crate::mqtt::options::Client;
use crate::retry::Retry;

/// Where set-points come in by default; `{line}` is the line.
pub const COMMAND_TOPIC: &str = "plant/{line}/press/set";
/// Set-points that may wait for the next step; newer ones are refused when there are more.
pub(super) const WAITING: usize = 1_024;

/// A client that listens for set-points.
pub(super) struct Listener {
    client: Client,
    topic: CommandTopic,
}

impl Listener {
    pub(super) fn new(name: &str, url: &str, topic: &str) -> Result<Self, OptionError> {
        let topic = CommandTopic::parse(topic)?;
        Ok(Self { client: Client::new(url, client_id(name))?, topic })
    }

    /// Listens for ever.
    pub(super) async fn run(self, set_points: mpsc::Sender<SetPoint>) {
        let mut retry = Retry::new(self.client.seed());
        loop {
            let lost = match self.listen(&set_points, &mut retry).await {
                Ok(never) => match never {},
                Err(lost) => lost,
            };
            retry.wait(format!("cannot reach {}", self.client.url), lost).await;
        }
    }

    async fn listen(
        &self,
        set_points: &mpsc::Sender<SetPoint>,
        retry: &mut Retry,
    ) -> Result<std::convert::Infallible, Lost> {
        let (mut connection, _) = Connection::open(&self.client).await?;
        connection.subscribe(&[self.topic.filter()], QoS::AtLeastOnce).await?;
        loop {
            match connection.next().await? {
                Packet::SubAck(answer) => {
                    self.topic.accepted(&answer)?;
                    retry.succeeded();
                }
                Packet::Publish(message) => {
                    if let Some(set_point) = self.topic.set_point(&message)
                        && set_points.try_send(set_point).is_err()
                    {
                        tracing::warn!("the plant is busy: a set-point on {} was refused", message.topic);
                    }
                    if message.qos != QoS::AtMostOnce {
                        connection.acknowledge(&[message.pkid]).await?;
                    }
                }
                // Answers to pings and to what was published.
                _ => {}
            }
        }
    }
}

/// Runs a plant that publishes its readings to `plant/{line}/{machine}/readings`, as JSON with the names of the
/// columns, and follows the set-points of [`COMMAND_TOPIC`]. Ends only when its task is dropped or aborted.
///
/// `speedup` is simulated seconds per second. While the broker is away the plant stands still.
///
/// # Errors
/// If `url` is not the URL of a broker.
pub async fn publish(url: String, options: PlantOptions, speedup: f64) -> Result<()> {
    let failed = |error: OptionError| Error::connector("plant", "plant", error);
    let client = Client::new(&url, client_id("plant")).map_err(failed)?;
    let topic = CommandTopic::parse(COMMAND_TOPIC).map_err(failed)?;
    let mut retry = Retry::new(client.seed());
    let mut plant = Plant::new(options.clone());
    let step = Duration::from_secs_f64(1.0 / (options.rate * speedup));
    loop {
        let lost = match publish_on(&client, &topic, &mut plant, step, &mut retry).await {
            Ok(never) => match never {},
            Err(lost) => lost,
        };
        retry.wait(format!("cannot reach {url}"), lost).await;
    }
}

async fn publish_on(
    client: &Client,
    topic: &CommandTopic,
    plant: &mut Plant,
    step: Duration,
    retry: &mut Retry,
) -> Result<std::convert::Infallible, Lost> {
    let (mut connection, _) = Connection::open(client).await?;
    connection.subscribe(&[topic.filter()], QoS::AtLeastOnce).await?;
    let mut steps = interval(step);
    let mut waiting = std::collections::VecDeque::new();
    loop {
        tokio::select! {
            biased;
            packet = connection.next() => match packet? {
                Packet::SubAck(answer) => {
                    topic.accepted(&answer)?;
                    retry.succeeded();
                }
                Packet::Publish(message) => {
                    if let Some(set_point) = topic.set_point(&message) {
                        plant.command(&set_point);
                    }
                    if message.qos != QoS::AtMostOnce {
                        connection.acknowledge(&[message.pkid]).await?;
                    }
                }
                // Answers to pings and to what was published.
                _ => {}
            },
            _ = steps.tick(), if waiting.is_empty() => waiting.extend(plant.step()),
        }
        let mut is_new = false;
        while connection.room() > 0
            && let Some(reading) = waiting.pop_front()
        {
            let topic = format!("plant/{}/{}/readings", reading.line, reading.machine);
            connection.publish(Publish::new(topic, QoS::AtLeastOnce, to_json(&reading))).await?;
            is_new = true;
        }
        if is_new {
            connection.flush().await?;
        }
    }
}

/// Unique on the machine, so that two plants do not take each other's place in the broker.
fn client_id(name: &str) -> String {
    format!("lineshaft-plant-{name}-{}", std::process::id())
}

/// A topic with `{line}` as one of its levels.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandTopic {
    levels: Vec<String>,
    line: usize,
}

/// The payload of a set-point; other members are of no interest to the drive.
#[derive(Deserialize)]
struct Command {
    speed: Option<f64>,
    heat: Option<f64>,
}

impl CommandTopic {
    /// A broker may refuse a subscription and keep the connection: nothing would ever come.
    fn accepted(&self, answer: &SubAck) -> Result<(), Lost> {
        if answer.return_codes.contains(&SubscribeReasonCode::Failure) {
            let filter = self.filter();
            return Err(Lost::Protocol(format!("the broker refused the subscription to {filter:?}")));
        }
        Ok(())
    }

    fn parse(text: &str) -> Result<Self, OptionError> {
        let levels: Vec<String> = text.split('/').map(str::to_owned).collect();
        match levels.iter().position(|level| level == "{line}") {
            Some(line) if !text.contains(['+', '#', '\0']) => Ok(Self { levels, line }),
            _ => Err(OptionError::of(
                "command_topic",
                format!("{text:?} is not a topic with {{line}} as a level"),
            )
            .help(format!("write such as '{COMMAND_TOPIC}'"))),
        }
    }

    fn filter(&self) -> String {
        let mut levels = self.levels.clone();
        levels[self.line] = "+".into();
        levels.join("/")
    }

    /// The set-point of a message; what is not one is told and left out.
    fn set_point(&self, message: &Publish) -> Option<SetPoint> {
        let line = message.topic.split('/').nth(self.line)?.to_owned();
        match serde_json::from_slice(&message.payload) {
            Ok(Command { speed, heat }) => Some(SetPoint { line, speed, heat }),
            Err(error) => {
                tracing::warn!("what came on {} is not a set-point: {error}", message.topic);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::Broker;

    #[test]
    fn a_command_topic_gives_the_line() {
        let topic = CommandTopic::parse(COMMAND_TOPIC).unwrap();
        assert_eq!(topic.filter(), "plant/+/press/set");
        let message = |payload: &str| Publish::new("plant/line-2/press/set", QoS::AtLeastOnce, payload);
        let set_point = topic.set_point(&message(r#"{"speed": 12, "line": "x"}"#)).unwrap();
        assert_eq!(set_point, SetPoint { line: "line-2".into(), speed: Some(12.0), heat: None });
        assert_eq!(topic.set_point(&message("faster!")), None);
        assert!(CommandTopic::parse("plant/set").is_err());
    }

    #[test]
    fn the_published_plant_follows_a_set_point_of_the_broker() {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let broker = Broker::start(None).unwrap();
        let options = PlantOptions { lines: 1, machines: 1, rate: 1.0, ..PlantOptions::default() };
        let plant = runtime.spawn(publish(broker.url(), options, 200.0));
        let speed = runtime.block_on(async {
            let client = Client::new(&broker.url(), "test".into()).unwrap();
            let (mut connection, _) = Connection::open(&client).await.unwrap();
            connection.subscribe(&["plant/line-1/press-1-1/readings".into()], QoS::AtMostOnce).await.unwrap();
            let mut seen = 0;
            loop {
                let Packet::Publish(message) = connection.next().await.unwrap() else {
                    continue;
                };
                let reading: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                seen += 1;
                // Once it is seen to run, it listens too: it subscribes before it publishes.
                if seen == 5 {
                    let command =
                        Publish::new("plant/line-1/press/set", QoS::AtLeastOnce, r#"{"speed": 40}"#);
                    connection.publish(command).await.unwrap();
                    connection.flush().await.unwrap();
                }
                let speed = reading["speed"].as_f64().unwrap();
                if speed > 35.0 || seen > 10_000 {
                    break speed;
                }
            }
        });
        plant.abort();
        assert!(speed > 35.0, "{speed}");
    }
}
