use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn text() -> impl Strategy<Value = String> {
    "[a-z/ü ]{0,12}"
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..40)
}

fn epochs() -> impl Strategy<Value = Epochs> {
    (any::<u64>(), any::<u32>(), any::<i64>()).prop_map(|(first, count, wall_clock)| Epochs {
        first,
        count,
        wall_clock,
    })
}

fn message() -> impl Strategy<Value = Message> {
    let packet = (any::<u16>(), any::<bool>(), any::<bool>());
    let packet = option::of(packet.prop_map(|(id, again, settles)| Packet { id, again, settles }));
    let request = (text(), text(), option::of(text())).prop_map(|(remote, format, key)| Request {
        remote,
        format,
        key,
    });
    let request = option::of(request.prop_map(Box::new));
    (text(), bytes(), any::<i64>(), any::<u8>(), any::<bool>(), packet, request).prop_map(
        |(topic, payload, received_at, qos, retain, packet, request)| Message {
            topic,
            payload,
            received_at,
            qos,
            retain,
            packet,
            request,
        },
    )
}

fn payload() -> impl Strategy<Value = DataPayload> {
    prop_oneof![
        Just(DataPayload::Empty),
        vec(message(), 0..5).prop_map(DataPayload::Messages),
        (bytes(), any::<u64>()).prop_map(|(bytes, first_line)| DataPayload::Bytes { bytes, first_line }),
        any::<u64>().prop_map(DataPayload::Chunk),
        bytes().prop_map(DataPayload::Rows),
        text().prop_map(DataPayload::Gap),
    ]
}

fn chunk() -> impl Strategy<Value = DataChunk> {
    let times = (option::of(any::<i64>()), option::of(any::<i64>()));
    (any::<u32>(), any::<u32>(), times, any::<[bool; 3]>(), option::of(bytes()), payload()).prop_map(
        |(partition, batches, (near, rest), [last, is_loaded, ends_source], position, payload)| DataChunk {
            partition,
            batches,
            near,
            rest,
            last,
            is_loaded,
            ends_source,
            position,
            payload,
        },
    )
}

fn record() -> impl Strategy<Value = Record> {
    let total = (text(), any::<u64>(), any::<u128>()).prop_map(|(source, records, hash)| SourceTotal {
        source,
        records,
        hash,
    });
    let data = (text(), epochs(), chunk());
    let gap = (text(), text(), any::<i64>(), any::<i64>());
    let commit = (epochs(), any::<u64>(), any::<u128>(), any::<u64>(), vec(total, 0..4));
    prop_oneof![
        data.prop_map(|(source, epochs, chunk)| Record::Data(Data { source, epochs, chunk })),
        gap.prop_map(|(source, reason, from, to)| Record::Gap(Gap { source, reason, from, to })),
        (any::<u16>(), bytes()).prop_map(|(kind, body)| Record::Control(Control { kind, body })),
        commit.prop_map(|(epochs, incarnation, queries, bytes, sources)| {
            Record::Commit(Commit { epochs, incarnation, queries, bytes, sources })
        }),
    ]
}

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    record.encode(&mut out);
    out
}

proptest! {
    #[test]
    fn a_record_comes_back_as_it_was(record in record()) {
        prop_assert_eq!(Record::decode(record.kind(), &encoded(&record)), Ok(record));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(kind in 0..6_u8, body in vec(any::<u8>(), 0..200)) {
        if let Ok(record) = Record::decode(kind, &body) {
            prop_assert_eq!(encoded(&record), body);
        }
    }

    #[test]
    fn a_record_with_other_bytes_is_another_record_or_an_error(
        record in record(), place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut body = encoded(&record);
        let place = place.index(body.len());
        if cut { body.truncate(place) } else { body[place] = byte }
        if let Ok(other) = Record::decode(record.kind(), &body) {
            prop_assert_eq!(encoded(&other), body);
        }
    }
}

#[test]
fn a_length_past_the_end_allocates_nothing() {
    let mut body = Vec::new();
    put_bytes(&mut body, b"pump");
    put_epochs(&mut body, Epochs::default());
    body.extend([0; 9]);
    body.push(1);
    body.extend(u32::MAX.to_le_bytes());
    body.extend([0; 64]);
    assert_eq!(Record::decode(kind::DATA, &body), Err(Malformed("a list goes past the end")));
}
