"""The mutant bank: which mistakes are made in which right kernels.

A pair of base and operator that is not listed has no place there, or leaves a right kernel: a head
`h % HKV` of packed heads, a tail of a loop that counts blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

from m890sim.judge.mutation import OPERATORS, Operator
from m890sim.kernel.ir import Kernel
from tests.mutants.bases import base, task_of

# Few rows, little difference, or only inputs and shapes that are rare.
TINY = frozenset(
    [
        "mask_late_in_one_tile",
        "mask_late_in_one_row",
        "mask_of_even_groups",
        "mask_guard_late",
        "mask_adds_30000",
        "stop_one_early",
        "last_key_of_whole_blocks",
        "key_of_one_sequence",
        "prefix_key_of_one_sequence",
        "prefix_capped",
        "pages_of_first_for_one",
        "head_last_wrong",
        "group_even",
        "group_of_four",
        "max_not_running",
        "max_kept",
        "max_of_first_block",
        "max_of_first_key",
        "max_of_half",
        "max_from_zero",
        "max_from_minus_1000",
        "max_from_minus_10000",
        "max_from_minus_100000",
        "max_without_one_key",
        "max_of_two_heads",
        "max_at_least_zero",
        "max_before_mask",
        "row_not_rescaled",
        "tail_not_rescaled",
        "sum_plus_little",
        "sum_at_least_two",
        "scale_2_percent",
        "scale_tenth_percent",
        "weights_scale_off",
        "log2e_rounded",
        "alpha_scale_off",
        "bias_in_bf16",
        "max_in_bf16",
        "scores_in_f16",
        "values_in_f16",
        "parts_in_f16",
        "accumulate_dropped_in_tail",
        "values_of_one_key_off",
        "values_of_one_key_off_once",
        "row_off",
        "element_off",
        "d_power_of_two_only",
        "groups_of_public_only",
        "pages_of_16_only",
    ]
)

_LISTS = {
    "attention_reference": (
        "mask_missing mask_late mask_early mask_late_in_one_tile mask_late_in_one_row "
        "first_block_missing first_key_missing tail_missing last_block_missing stop_one_early "
        "last_key_of_blocks last_key_of_whole_blocks prefix_key_of_one_sequence prefix_missing "
        "prefix_in_whole_pages prefix_in_whole_blocks prefix_capped length_in_whole_blocks "
        "table_one_early table_one_late pages_ignored pages_contiguous pages_of_first_sequence "
        "pages_of_first_for_one head_modulo head_first head_last_wrong head_next group_even "
        "group_of_four keys_for_values sequence_offset_missing max_missing max_not_running "
        "max_of_first_block max_of_first_key max_of_half max_smaller max_from_zero "
        "max_from_minus_1000 max_from_minus_10000 max_at_least_zero max_before_mask "
        "max_before_scale output_not_rescaled sum_not_rescaled row_not_rescaled "
        "tail_not_rescaled rescaled_twice alpha_inverted alpha_of_new_maximum sum_plus_one "
        "sum_plus_little block_sum_twice sum_without_last_key sum_at_least_two sum_missing "
        "scale_zero scale_missing scale_twice scale_2_percent scale_tenth_percent scale_of_64 "
        "scale_of_128 sum_in_bf16 max_in_bf16 scores_in_bf16 scores_in_f16 accumulate_dropped "
        "accumulate_dropped_in_tail sum_replaced last_row_missing partial_tile_zero "
        "columns_missing values_of_one_key_off values_of_one_key_off_once row_off element_off "
        "rescaled_after_product mask_after_weights last_phase_for_first_rows "
        "public_lengths_only one_sequence_only d_128_only d_power_of_two_only "
        "groups_of_public_only whole_lengths_only pages_of_16_only pages_in_order_only "
        "mask_adds_30000 max_from_minus_100000 values_in_f16"
    ),
    "attention_textbook": (
        "mask_missing mask_late prefix_in_whole_blocks head_modulo max_missing max_of_half "
        "max_at_least_zero sum_without_last_key scale_tenth_percent accumulate_dropped "
        "last_row_missing values_of_one_key_off element_off"
    ),
    "attention_5_softmax": (
        "mask_early last_key_of_blocks max_from_minus_10000 weights_scale_off log2e_missing "
        "log2e_rounded alpha_scale_off bias_in_bf16 sum_not_rescaled"
    ),
    "script:extend": (
        "mask_ungrouped mask_of_even_groups mask_guard_late mask_late prefix_in_whole_pages "
        "pages_contiguous max_of_first_block max_not_running max_from_zero output_not_rescaled "
        "weights_scale_off public_lengths_only groups_of_public_only"
    ),
    "attention_expert": (
        "mask_missing mask_of_even_groups prefix_key_of_one_sequence pages_of_first_for_one "
        "max_kept max_not_running max_of_half output_not_rescaled accumulate_dropped "
        "log2e_rounded public_lengths_only pages_in_order_only public_tables_only"
    ),
    "decode_reference": (
        "first_key_missing tail_missing stop_one_early last_key_of_blocks key_of_one_sequence "
        "length_in_whole_blocks pages_contiguous pages_of_first_for_one head_modulo "
        "head_last_wrong group_even max_missing max_of_first_block max_from_minus_1000 "
        "max_before_scale tail_not_rescaled scale_tenth_percent values_of_one_key_off_once "
        "element_off one_sequence_only max_without_one_key max_from_minus_100000"
    ),
    "decode_5_split": (
        "key_of_one_sequence part_sums_not_weighed part_outputs_not_weighed part_sum_short "
        "max_not_running row_off table_one_early parts_in_f16 "
        "sum_plus_little"
    ),
    "decode_expert": (
        "key_of_one_sequence last_key_of_whole_blocks part_sums_not_weighed part_sum_short "
        "max_of_first_block alpha_scale_off weights_scale_off tail_not_rescaled "
        "groups_of_public_only d_power_of_two_only row_off "
    ),
    "decode_9_softmax": "max_from_minus_1000 max_from_minus_10000 log2e_rounded max_of_two_heads "
    "parts_in_f16",
    "script:decode": (
        "max_from_zero max_of_half log2e_rounded part_outputs_not_weighed pages_contiguous "
        "key_of_one_sequence accumulate_dropped_in_tail"
    ),
    "attention_head_reference": (
        "mask_late_in_one_row max_of_first_block max_before_mask scale_2_percent stop_one_early "
        "tail_missing sum_replaced mask_adds_30000 max_without_one_key"
    ),
    "attention_head_expert": "mask_missing max_of_half weights_scale_off log2e_missing",
    "matmul_reference": "tail_missing product_replaced last_row_missing last_key_of_blocks "
    "public_rows_only",
    "matmul_expert": "last_block_missing accumulate_dropped last_key_of_blocks",
    "row_softmax_reference": "max_missing max_at_least_zero scale_tenth_percent even_rows_only",
    "row_softmax_expert": "max_missing max_at_least_zero weights_scale_off log2e_rounded",
    "vector_add_reference": "last_row_missing even_rows_only",
    "vector_add_expert": "last_row_missing even_rows_only",
}


@dataclass(frozen=True)
class Mutant:
    """A right kernel with one kind of mistake at all its places."""

    base: str
    operator: Operator

    @property
    def name(self) -> str:
        """`base/operator`."""
        return f"{self.base}/{self.operator.name}"

    @property
    def task(self) -> str:
        """The task that it fails."""
        return task_of(self.base)

    @property
    def tiny(self) -> bool:
        """Wrong in few rows, by little, or for rare inputs and shapes only."""
        return self.operator.name in TINY

    def kernel(self) -> Kernel:
        """The wrong kernel, checked against the language."""
        return self.operator.everywhere(base(self.base))


BANK: dict[str, Mutant] = {
    mutant.name: mutant
    for name, operators in _LISTS.items()
    for mutant in (Mutant(name, OPERATORS[operator]) for operator in operators.split())
}
