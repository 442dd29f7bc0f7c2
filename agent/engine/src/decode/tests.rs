//! Truncated, over-long and unknown records.

use whyslow_abi::record::{BeginRecord, EndRecord, LifecycleRecord, PieceRecord, SignalRecord};

use super::*;

/// Bytes of an all-zero record of this kind and size.
fn blank(kind: RecordKind, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[8..12].copy_from_slice(&(kind as u32).to_le_bytes());
    bytes
}

const SHAPES: [(RecordKind, usize); 5] = [
    (RecordKind::Begin, size_of::<BeginRecord>()),
    (RecordKind::Piece, size_of::<PieceRecord>()),
    (RecordKind::End, size_of::<EndRecord>()),
    (RecordKind::Lifecycle, size_of::<LifecycleRecord>()),
    (RecordKind::Signal, size_of::<SignalRecord>()),
];

#[test]
fn every_truncation_is_an_error() {
    for (kind, size) in SHAPES {
        let bytes = blank(kind, size);
        for length in 0..size {
            assert_eq!(
                record(&bytes[..length]).err(),
                Some(DecodeError::Cut(length)),
                "{kind:?} cut to {length}"
            );
        }
        assert!(record(&bytes).is_ok(), "{kind:?}");
    }
}

#[test]
fn bytes_beyond_the_shape_are_ignored() {
    for (kind, size) in SHAPES {
        let mut bytes = blank(kind, size);
        bytes.extend_from_slice(&[0xff; 300]);
        assert!(record(&bytes).is_ok(), "{kind:?}");
    }
}

#[test]
fn unknown_tags_are_errors() {
    for tag in [0_u32, 99, 255, u32::MAX] {
        let mut bytes = blank(RecordKind::Begin, 4096);
        bytes[8..12].copy_from_slice(&tag.to_le_bytes());
        let unknown = Unknown {
            value: u64::from(tag),
        };
        assert_eq!(record(&bytes).err(), Some(DecodeError::UnknownTag(unknown)));
    }
    for kind in [RecordKind::End, RecordKind::Lifecycle, RecordKind::Signal] {
        let mut bytes = blank(kind, 4096);
        bytes[32..36].copy_from_slice(&77_u32.to_le_bytes());
        assert_eq!(
            record(&bytes).err(),
            Some(DecodeError::UnknownTag(Unknown { value: 77 })),
            "{kind:?}"
        );
    }
}

#[test]
fn lengths_are_clamped_to_the_payload() {
    let bytes = vec![0xff_u8; 4096];
    let mut begin = bytes.clone();
    begin[8..12].copy_from_slice(&(RecordKind::Begin as u32).to_le_bytes());
    let Ok(Record::Begin(begin)) = record(&begin) else {
        panic!("not a begin");
    };
    assert_eq!(begin.payload().len(), BEGIN_PAYLOAD);
    let mut piece = bytes;
    piece[8..12].copy_from_slice(&(RecordKind::Piece as u32).to_le_bytes());
    let Ok(Record::Piece(piece)) = record(&piece) else {
        panic!("not a piece");
    };
    assert_eq!(piece.payload().len(), PIECE_PAYLOAD);
}

#[test]
fn cut_states_and_slots_are_errors() {
    assert!(connection(&[0; 100]).is_err());
    assert!(connection(&[0; size_of::<ConnectionState>()]).is_ok());
    assert!(slot(&[0; 10]).is_err());
    assert!(slot(&[0; size_of::<ThreadSlot>()]).is_ok());
    assert!(slot(&[0xff; size_of::<ThreadSlot>()]).is_err());
}

#[test]
fn names_end_at_the_first_nul() {
    assert_eq!(name(b"gunicorn\0\0\0"), "gunicorn");
    assert_eq!(name(b"full-sixteen-byt"), "full-sixteen-byt");
    assert_eq!(name(b""), "");
    assert_eq!(name(&[0xff, b'a', 0]), "\u{fffd}a");
}
