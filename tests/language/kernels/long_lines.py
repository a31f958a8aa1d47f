from m890sim.lang import *
@kernel
def a_kernel_with_a_rather_long_name(first_tensor: Tensor["T", "HEADS", "D"], second: Tensor["T", "D", f32], out: Tensor["T", "D"], pages: Table["P"], scale: Scalar, BLOCK_ROWS: Tunable = 128, BLOCK_COLUMNS: Tunable = 256):
    for head, block in cores(HEADS, ceil_div(T, BLOCK_ROWS), order="snake"):
        the_number_of_rows = min(BLOCK_ROWS, T - block * BLOCK_ROWS, pages[head + 1] - pages[head], pages[0])
        t = the_number_of_rows * the_number_of_rows * the_number_of_rows + the_number_of_rows * BLOCK_ROWS - 1
        query_tile = sram(BLOCK_ROWS, D, bf16, slots=2, at=3)
        load(query_tile[:the_number_of_rows], first_tensor[pages[block * BLOCK_ROWS : block * BLOCK_ROWS + the_number_of_rows], head, :], queue=2)
        sums = sram(BLOCK_ROWS, 1, f32)
        exp2(query_tile[:the_number_of_rows], query_tile[:the_number_of_rows], scale=scale * LOG2E, row_sum=sums[:the_number_of_rows], engine=vector, bias=-scale)  # a comment that goes beyond the width
        for step_through_the_columns_of_the_block in range(block * BLOCK_ROWS * 2 + the_number_of_rows, 2 * T, BLOCK_COLUMNS):
            mul(query_tile[:the_number_of_rows], query_tile[:the_number_of_rows], sums[:the_number_of_rows])
        store(out[block * BLOCK_ROWS : block * BLOCK_ROWS + the_number_of_rows, :], query_tile[:the_number_of_rows])
