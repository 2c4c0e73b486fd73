//! Keys that are well-formed and worthless: RSA moduli that can be factored, and points of small order.
//!
//! Everything here is bounded: a fixed number of word operations for each key, no allocation that the key decides about.

use std::sync::LazyLock;

use curve25519_dalek::edwards::CompressedEdwardsY;
use num_bigint::BigUint;

use crate::key::{self, Family, PublicKey};

/// Primes below this bound may not divide a modulus. NIST SP 800-89, section 5.3.3, asks for 752; the cost sets the end.
const SMALL_PRIMES_BELOW: usize = 1 << 13;

/// Steps of Fermat's method: found are primes that differ by less than about `28 * modulus^(1/4)`.
const FERMAT_STEPS_MAX: usize = 100;

/// The primes of the ROCA fingerprint: the odd ones up to 167.
///
/// Nemec, Sys, Svenda, Klinec, Matyas: The Return of Coppersmith's Attack: Practical Factorization of Widely Used RSA
/// Moduli (ACM CCS 2017), section 3.2. CVE-2017-15361.
const ROCA_PRIMES: [u64; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109,
    113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

/// The generator in the construction of those keys.
const ROCA_GENERATOR: u64 = 65_537;

/// What makes a key weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// A small prime divides the modulus.
    SmallFactor(u64),
    /// The primes are so close that Fermat's method finds them.
    ClosePrimes,
    /// The modulus has the fingerprint of CVE-2017-15361.
    Roca,
    /// The point generates a small group only.
    SmallOrder,
    /// The vector t1 of an ML-DSA key is zero: everybody signs with it.
    ZeroKey,
}

impl std::fmt::Display for Weakness {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SmallFactor(prime) => write!(f, "{prime} divides the RSA modulus"),
            Self::ClosePrimes => f.write_str("the primes of the RSA modulus are so close that it can be factored"),
            Self::Roca => f.write_str("the RSA modulus has the fingerprint of ROCA (CVE-2017-15361)"),
            Self::SmallOrder => f.write_str("the Ed25519 point is of small order"),
            Self::ZeroKey => f.write_str("the ML-DSA key has a t1 of zero, so that everybody signs with it"),
        }
    }
}

/// The first weakness that is found in a key.
#[must_use]
pub fn weakness(key: &PublicKey) -> Option<Weakness> {
    match key.kind().family() {
        // P-256 and P-384 have prime order, and `PublicKey::parse` takes points on the curve only.
        Family::Ecdsa => None,
        Family::Ed25519 => small_order(key.raw()).then_some(Weakness::SmallOrder),
        Family::MlDsa => zero_t1(key.raw()).then_some(Weakness::ZeroKey),
        Family::Rsa => {
            let modulus = key::modulus_of(key.raw())?;
            weak_modulus(&modulus)
        }
    }
}

/// Bytes of the seed rho that an ML-DSA key begins with (FIPS 204, algorithm 22).
const RHO_BYTES: usize = 32;

/// Whether an ML-DSA key has nothing but its seed: with t1 = 0 no secret takes part, and whoever chooses a short z has signed.
fn zero_t1(key: &[u8]) -> bool {
    key.iter().skip(RHO_BYTES).all(|byte| *byte == 0)
}

fn weak_modulus(modulus: &BigUint) -> Option<Weakness> {
    let limbs = modulus.to_u64_digits();
    small_factor(&limbs).map(Weakness::SmallFactor).or_else(|| {
        let roca = roca(&limbs).then_some(Weakness::Roca);
        roca.or_else(|| close_primes(modulus).then_some(Weakness::ClosePrimes))
    })
}

/// An odd prime, with what it takes to tell its multiples without dividing.
struct Prime {
    number: u64,
    /// The inverse modulo 2^64: times it, a multiple becomes its quotient, and any other number something larger.
    inverse: u64,
    quotient_max: u64,
}

impl Prime {
    fn of(number: u64) -> Self {
        Self { number, inverse: inverse_of(number), quotient_max: u64::MAX / number }
    }

    fn divides(&self, other: u64) -> bool {
        other.wrapping_mul(self.inverse) <= self.quotient_max
    }
}

/// The inverse of an odd number modulo 2^64.
fn inverse_of(odd: u64) -> u64 {
    // Newton's iteration doubles the correct bits: 3, 6, 12, 24, 48, 96.
    (0..5).fold(odd, |inverse, _| inverse.wrapping_mul(2_u64.wrapping_sub(odd.wrapping_mul(inverse))))
}

/// A product of odd primes that fits a word, with what it takes to divide by it.
struct Batch {
    product: u64,
    /// The negative inverse of the product modulo 2^64.
    inverse: u64,
    primes: Vec<Prime>,
}

impl Batch {
    fn of(primes: Vec<u64>) -> Self {
        let product: u64 = primes.iter().product();
        let primes = primes.into_iter().map(Prime::of).collect();
        Self { product, inverse: inverse_of(product).wrapping_neg(), primes }
    }

    /// The batches of all odd primes below [`SMALL_PRIMES_BELOW`].
    fn all() -> Vec<Self> {
        let mut batches = Vec::new();
        let mut batch: Vec<u64> = Vec::new();
        for prime in odd_primes(SMALL_PRIMES_BELOW) {
            let fits = batch.iter().try_fold(prime, |product, other| product.checked_mul(*other)).is_some();
            if !fits {
                batches.push(Self::of(std::mem::take(&mut batch)));
            }
            batch.push(prime);
        }
        batches.push(Self::of(batch));
        batches
    }

    /// Numbers that have the same common divisors with the products of four batches as `limbs` (little-endian) has.
    ///
    /// Montgomery's reduction, word by word: each step adds the multiple of the product that clears the lowest word,
    /// and drops that word. So it gives the number times a power of 2^-64, and the product is odd. Each step waits for the
    /// one before it, so that four side by side cost little more than one.
    fn reduce(four: [&Self; 4], limbs: &[u64]) -> [u64; 4] {
        let mut carries = [0_u64; 4];
        for limb in limbs {
            for (carry, batch) in carries.iter_mut().zip(four) {
                let (sum, over) = limb.overflowing_add(*carry);
                let factor = sum.wrapping_mul(batch.inverse);
                let cleared = u128::from(factor) * u128::from(batch.product) + u128::from(sum);
                // At most the product, and one: below 2^64.
                *carry = ((cleared >> 64) as u64).wrapping_add(u64::from(over));
            }
        }
        carries
    }
}

static BATCHES: LazyLock<Vec<Batch>> = LazyLock::new(Batch::all);

fn odd_primes(below: usize) -> impl Iterator<Item = u64> {
    let mut composite = vec![false; below];
    (3..below).step_by(2).filter_map(move |candidate| {
        if composite.get(candidate).copied().unwrap_or(true) {
            return None;
        }
        composite.iter_mut().skip(candidate * candidate).step_by(candidate).for_each(|marked| *marked = true);
        Some(candidate as u64)
    })
}

/// The first prime of the batches that divides the number.
fn small_factor(limbs: &[u64]) -> Option<u64> {
    let divides =
        |batch: &Batch, rest: u64| batch.primes.iter().find(|prime| prime.divides(rest)).map(|prime| prime.number);
    let (fours, others) = BATCHES.as_chunks::<4>();
    let in_fours = fours.iter().find_map(|four| {
        let rests = Batch::reduce(four.each_ref(), limbs);
        four.iter().zip(rests).find_map(|(batch, rest)| divides(batch, rest))
    });
    in_fours.or_else(|| {
        others.iter().find_map(|batch| {
            let [rest, ..] = Batch::reduce([batch; 4], limbs);
            divides(batch, rest)
        })
    })
}

/// For each prime of the fingerprint, a bit for every residue that a power of the generator has.
static ROCA_RESIDUES: LazyLock<Vec<(u64, [bool; 168])>> = LazyLock::new(|| {
    let subgroup = |prime: u64| {
        let mut residues = [false; 168];
        let mut power = 1;
        while let Some(residue) = residues.get_mut(usize::try_from(power).unwrap_or(usize::MAX))
            && !*residue
        {
            *residue = true;
            power = power * ROCA_GENERATOR % prime;
        }
        (prime, residues)
    };
    ROCA_PRIMES.into_iter().map(subgroup).collect()
});

/// Whether the number is a power of the generator modulo every prime of the fingerprint.
///
/// A random modulus is one for about one in 2^27; the vendor's are one always.
fn roca(limbs: &[u64]) -> bool {
    ROCA_RESIDUES.iter().all(|(prime, residues)| {
        let word = (1_u128 << 64) % u128::from(*prime);
        let word = word as u64;
        let residue = limbs.iter().rev().fold(0, |rest, limb| (rest * word + limb % prime) % prime);
        usize::try_from(residue).ok().and_then(|residue| residues.get(residue)).copied().unwrap_or(false)
    })
}

/// Fermat: a modulus is `a^2 - b^2` with `a` a little over its root where its primes are close.
fn close_primes(modulus: &BigUint) -> bool {
    let root = square_root(modulus);
    let mut middle = root;
    if &middle * &middle < *modulus {
        middle += 1_u32;
    }
    let mut square = &middle * &middle - modulus;
    let mut step = (middle << 1_u32) + 1_u32;
    for _ in 0..FERMAT_STEPS_MAX {
        if is_square(&square) {
            return true;
        }
        square += &step;
        step += 2_u32;
    }
    false
}

/// The largest number whose square is not over `number`.
///
/// Newton's iteration from above, at a start that is right in its first bits, so that few rounds are needed.
fn square_root(number: &BigUint) -> BigUint {
    if *number == BigUint::ZERO {
        return BigUint::ZERO;
    }
    // From here on the root is never 0: the steps go down to the integer square root and not below it.
    let mut root = a_little_over_root(number);
    loop {
        let next = (&root + number / &root) >> 1_u32;
        if next >= root {
            return root;
        }
        root = next;
    }
}

/// More than the square root of a number, by less than one part in 2^29 where it is long.
fn a_little_over_root(number: &BigUint) -> BigUint {
    /// Bits of the number that it is made from: even, and exact in a word.
    const HEAD_BITS: u64 = 62;
    let drop = number.bits().saturating_sub(HEAD_BITS).next_multiple_of(2);
    let head = (number >> drop).to_u64_digits().first().copied().unwrap_or(0);
    BigUint::from(head.isqrt() + 1) << (drop / 2)
}

/// Whether a number is a square. Almost all that are not are told by their residues.
fn is_square(number: &BigUint) -> bool {
    if !has_residues_of_a_square(number) {
        return false;
    }
    let root = square_root(number);
    &root * &root == *number
}

fn has_residues_of_a_square(number: &BigUint) -> bool {
    /// 3 * 5 * 7 * 11 * 13 * 17 * 19 * 23.
    const RESIDUES_OF: u32 = 111_546_435;
    const PRIMES: [u32; 8] = [3, 5, 7, 11, 13, 17, 19, 23];
    let low = number.iter_u64_digits().next().unwrap_or(0) % 64;
    if !(0..32_u64).any(|root| root * root % 64 == low) {
        return false;
    }
    let rest = (number % RESIDUES_OF).iter_u32_digits().next().unwrap_or(0);
    PRIMES.into_iter().all(|prime| (0..prime).any(|root| root * root % prime == rest % prime))
}

/// Whether it is a point of order 1, 2, 4 or 8.
fn small_order(point: &[u8]) -> bool {
    let point = CompressedEdwardsY::from_slice(point).ok().and_then(|point| point.decompress());
    point.is_some_and(|point| point.is_small_order())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A prime of 1,024 bits.
    fn prime() -> BigUint {
        (BigUint::from(3_u32) << 1022_u32) + (BigUint::from(1_u32) << 900_u32) + UNRELATED
    }

    fn after_base(distance: u32) -> BigUint {
        (BigUint::from(3_u32) << 1022_u32) + distance
    }

    /// The offset of [`prime`].
    const UNRELATED: u32 = 555;

    fn passes_fermat(number: &BigUint) -> bool {
        BigUint::from(2_u32).modpow(&(number - 1_u32), number) == BigUint::from(1_u32)
    }

    /// The construction of the paper: `k * M + (65537^a mod M)`, M the product of the first 126 primes.
    fn roca_prime(k: u64, a: u64) -> BigUint {
        let product: BigUint = std::iter::once(2).chain(odd_primes(702)).take(126).map(BigUint::from).product();
        BigUint::from(ROCA_GENERATOR).modpow(&BigUint::from(a), &product) + product * k
    }

    #[test]
    fn an_ordinary_modulus_has_no_weakness() {
        let other = after_base(1_037);
        for prime in [prime(), other.clone()] {
            assert!(passes_fermat(&prime));
        }
        assert_eq!(weak_modulus(&(prime() * other)), None);
    }

    #[test]
    fn a_modulus_with_any_prime_below_the_bound_is_found() {
        let rest = prime();
        for small in odd_primes(SMALL_PRIMES_BELOW).step_by(37).chain([3, 751, 8_191]) {
            assert_eq!(weak_modulus(&(&rest * small)), Some(Weakness::SmallFactor(small)));
        }
        assert_eq!(weak_modulus(&(&rest * 8_209_u32)), None, "the first prime over the bound");
    }

    #[test]
    fn the_primes_are_all_the_odd_primes_below_the_bound() {
        let primes: Vec<_> = odd_primes(SMALL_PRIMES_BELOW).collect();
        assert_eq!(primes.len(), 1_027);
        assert_eq!(BATCHES.iter().map(|batch| batch.primes.len()).sum::<usize>(), primes.len());
        let prime =
            |number: &u64| (2..*number).take_while(|by| by * by <= *number).all(|by| !number.is_multiple_of(by));
        assert!(primes.iter().all(prime));
    }

    #[test]
    fn neighbouring_primes_are_found() {
        let (p, q) = (after_base(1_037), after_base(1_697));
        assert!(passes_fermat(&p) && passes_fermat(&q));
        assert_eq!(weak_modulus(&(&p * &q)), Some(Weakness::ClosePrimes));
        assert_eq!(weak_modulus(&(&p * &p)), Some(Weakness::ClosePrimes), "a square");
    }

    #[test]
    fn primes_that_share_their_upper_half_are_found() {
        let p = after_base(1_037);
        let q = after_base(0) + (BigUint::from(1_u32) << 515_u32) + 381_u32;
        assert!(passes_fermat(&q));
        assert_eq!(weak_modulus(&(&p * &q)), Some(Weakness::ClosePrimes));
    }

    #[test]
    fn a_key_of_the_infineon_library_is_found() {
        let (p, q) = (
            roca_prime(9_100_522_078_094_763, 75_396_592_607_427_989),
            roca_prime(9_026_629_310_519_097, 307_887_277_672_520_436),
        );
        assert!(passes_fermat(&p) && passes_fermat(&q));
        let modulus = &p * &q;
        assert_eq!(modulus.bits(), 2048);
        assert_eq!(weak_modulus(&modulus), Some(Weakness::Roca));
        assert_eq!(weak_modulus(&(p * prime())), None, "one prime of another library hides the fingerprint");
    }

    #[test]
    fn the_square_root_is_the_integer_square_root() {
        for number in [0_u64, 1, 2, 3, 4, 15, 16, 17, 99, 100, u64::MAX] {
            assert_eq!(square_root(&BigUint::from(number)), BigUint::from(number.isqrt()), "{number}");
        }
        let big = prime();
        assert_eq!(square_root(&(&big * &big)), big);
        assert_eq!(square_root(&(&big * &big - 1_u32)), big - 1_u32);
    }

    #[test]
    fn the_root_is_looked_for_from_just_above_it() {
        for root in
            [prime(), BigUint::from(u64::MAX), BigUint::from(1_u32) << 1_023_u32, BigUint::from(1_u32) << 1_022_u32]
        {
            for (number, root) in [(&root * &root, root.clone()), (&root * &root - 1_u32, &root - 1_u32)] {
                let over = a_little_over_root(&number) - &root;
                assert!(over > BigUint::ZERO && over < &root >> 29_u32, "{root}");
            }
        }
    }

    #[test]
    fn squares_are_told_from_all_other_numbers_and_most_of_those_by_their_residues() {
        let mut guessed = 0;
        for number in 0..20_000_u32 {
            let is_one = number.isqrt().pow(2) == number;
            let residues = has_residues_of_a_square(&number.into());
            assert_eq!(is_square(&number.into()), is_one, "{number}");
            assert!(residues || !is_one, "{number}");
            guessed += u32::from(residues && !is_one);
        }
        assert!(guessed < 100, "{guessed} are no squares and look like one");
        for root in (0..64_u32).map(|bit| prime() + (BigUint::from(3_u32) << bit)) {
            assert!(is_square(&(&root * &root)) && !is_square(&(&root * &root + 1_u32)));
        }
    }

    #[test]
    fn words_of_the_largest_value_are_reduced_like_any_other() {
        assert!(!roca(&[u64::MAX; 32]));
        let number = (BigUint::from(1_u32) << 2_048_u32) - 1_u32;
        assert_eq!(weak_modulus(&number), Some(Weakness::SmallFactor(3)));
    }

    #[test]
    fn small_primes_share_words() {
        assert!(BATCHES.len() < 256, "{} batches: each costs a walk over the modulus", BATCHES.len());
    }

    #[test]
    fn a_weakness_says_what_it_is() {
        let said = [
            (Weakness::SmallFactor(7), "7 divides the RSA modulus"),
            (Weakness::ClosePrimes, "the primes of the RSA modulus are so close that it can be factored"),
            (Weakness::Roca, "the RSA modulus has the fingerprint of ROCA (CVE-2017-15361)"),
            (Weakness::SmallOrder, "the Ed25519 point is of small order"),
            (Weakness::ZeroKey, "the ML-DSA key has a t1 of zero, so that everybody signs with it"),
        ];
        for (weakness, sentence) in said {
            assert_eq!(weakness.to_string(), sentence);
        }
    }

    #[test]
    fn points_of_small_order_are_found_and_others_are_not() {
        let mut one = [0; 32];
        one[0] = 1;
        let mut base = [0x66; 32];
        base[0] = 0x58;
        assert!(small_order(&one));
        assert!(small_order(&[0; 32]));
        one[31] |= 0x80;
        assert!(small_order(&one), "whatever the sign");
        assert!(!small_order(&base), "the base point");
    }
}
