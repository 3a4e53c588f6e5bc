//! Inner loops that are compiled twice: for any processor, and for x86-64 with AVX2, BMI and FMA. Compilers vectorise
//! plain loops over whole miniblocks well, given the instructions; no intrinsics are needed.

/// Defines functions that run a body, an `#[inline(always)]` function with `const WIDE: bool` as its first parameter,
/// with the instructions that the processor has. `WIDE` says whether fused multiplication and addition is one of them.
macro_rules! per_processor {
    ($($(#[$attribute:meta])* $vis:vis fn $name:ident $(<const $generic:ident: $kind:ty>)?
        ($($argument:ident: $type:ty),* $(,)?) $(-> $output:ty)? = $body:ident;)*) => {$(
        $(#[$attribute])*
        #[inline]
        $vis fn $name $(<const $generic: $kind>)? ($($argument: $type),*) $(-> $output)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,bmi1,bmi2,fma,lzcnt,popcnt")]
                fn wide $(<const $generic: $kind>)? ($($argument: $type),*) $(-> $output)? {
                    $body::<true $(, $generic)?>($($argument),*)
                }
                if $crate::codec::processor::is_wide() {
                    // SAFETY: `wide` is safe code; it only asks for a processor with the features it is compiled for,
                    // and `is_wide` has just found all of them.
                    return unsafe { wide $(::<$generic>)? ($($argument),*) };
                }
            }
            $body::<false $(, $generic)?>($($argument),*)
        }
    )*};
}

pub(super) use per_processor;

/// Whether the processor has what [`per_processor`] compiles for. The standard library asks it once and keeps the answer.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn is_wide() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2") && has!("lzcnt") && has!("popcnt")
}
