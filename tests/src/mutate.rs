//! Breaks good bytes: what bad networks, old clients and attackers send. Knows bytes, not what they mean.

use crate::random::Random;

/// No mutation makes its input longer than this.
pub const MAX_LENGTH: usize = 256 * 1024;

/// Words that turn up at the edges of every format here: lengths, signs, counts, separators.
#[rustfmt::skip]
const WORDS: &[u32] = &[
    0, 1, 2, 3, 4, 5, 7, 8, 16, 20, 91, 127, 128, 255, 256, 1023, 1024, 4095, 4096, 32767, 32768, 65535, 65536,
    0x00ff_ffff, 0x0100_0000, 0x0100_0001, 0x7fff_fffe, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
    0xdaa3_20a7, 0xbbcc_ddee, 0xdaa3_20ab,
];

/// Pieces of text that mean something to one of the decoders.
#[rustfmt::skip]
const TEXTS: &[&[u8]] = &[
    b"{", b"}", b"[", b"]", b"\"", b"\\", b"\\u0000", b"\\ud800", b":", b",", b"null", b"true", b"-1", b"1e999",
    b"99999999999999999999", b"0x10", b"NaN", b"{\"$ref\":\"$\"}", b"{\"$ref\":\"..\"}", b"{{", b"'", b"extFields",
    b"code", b"\x01", b"\x02", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"%RETRY%", b"TBW102", b"\0",
    b"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[",
];

/// Returns `good` with one to eight things broken. `others` are further good inputs, pieces of which may be mixed in.
pub fn mutate(random: &mut Random, good: &[u8], others: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = good.to_vec();
    for _ in 0..1 + random.below(8).min(random.below(8)) {
        step(random, &mut bytes, others);
        bytes.truncate(MAX_LENGTH);
    }
    bytes
}

fn step(random: &mut Random, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
    let at = random.below(bytes.len());
    match random.below(12) {
        0 => flip_a_bit(random, bytes, at),
        1 => set(bytes, at, &[random.bits() as u8]),
        2 => set(bytes, at, &random.pick(WORDS).to_be_bytes()),
        3 => set(bytes, at, &(*random.pick(WORDS) as u16).to_be_bytes()),
        4 => set(bytes, at, &u64::from(*random.pick(WORDS)).wrapping_neg().to_be_bytes()),
        5 => bytes.truncate(at),
        6 => drop(bytes.drain(at..(at + 1 + random.below(16)).min(bytes.len()).max(at))),
        7 => {
            let text: &&[u8] = random.pick(TEXTS);
            insert(bytes, at, text);
        }
        8 => {
            let length = random.below(40);
            insert(bytes, at, &random.bytes(length));
        }
        9 => repeat_a_piece(random, bytes, at),
        10 if !others.is_empty() => mix_in(random, bytes, at, others),
        _ => nudge_a_word(random, bytes, at),
    }
}

fn set(bytes: &mut [u8], at: usize, value: &[u8]) {
    let end = (at + value.len()).min(bytes.len());
    let length = end.saturating_sub(at);
    bytes[at.min(end)..end].copy_from_slice(&value[..length]);
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let tail = bytes.split_off(at.min(bytes.len()));
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(&tail);
}

fn flip_a_bit(random: &mut Random, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Moves a big-endian word a little, as an off-by-one would.
fn nudge_a_word(random: &mut Random, bytes: &mut [u8], at: usize) {
    let Some(word) = bytes.get(at..at + 4) else { return };
    let by = 1 + random.below(8) as u32;
    let value = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
    let value = if random.one_in(2) { value.wrapping_add(by) } else { value.wrapping_sub(by) };
    set(bytes, at, &value.to_be_bytes());
}

fn repeat_a_piece(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let length = random.below(64).min(bytes.len() - at);
    let piece = bytes[at..at + length].repeat(1 + random.below(20));
    insert(bytes, at, &piece);
}

fn mix_in(random: &mut Random, bytes: &mut Vec<u8>, at: usize, others: &[Vec<u8>]) {
    let other = random.pick(others);
    let from = random.below(other.len());
    let length = random.below(other.len() - from + 1);
    bytes.truncate(at);
    bytes.extend_from_slice(&other[from..from + length]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutations_replay_from_their_seed_and_leave_little_unchanged() {
        let good = b"{\"code\":10,\"extFields\":{\"a\":\"b\"}}".to_vec();
        let others = [vec![1, 2, 3], vec![]];
        let broken = |i| mutate(&mut Random::nth(1, i), &good, &others);
        let changed = (0..2000).filter(|i| broken(*i) != good).count();
        assert!(changed > 1700, "{changed} of 2000");
        assert!((0..2000).all(|i| broken(i) == broken(i)));
    }

    #[test]
    fn nothing_is_too_short_or_too_long_to_mutate() {
        for good in [vec![], vec![0], vec![7; MAX_LENGTH]] {
            for i in 0..500 {
                assert!(
                    mutate(&mut Random::nth(2, i), &good, std::slice::from_ref(&good)).len() <= MAX_LENGTH
                );
            }
        }
    }
}
