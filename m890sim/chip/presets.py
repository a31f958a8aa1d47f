"""CHIPS: the presets, by name."""

from __future__ import annotations

from m890sim.chip.spec import KIB, ChipSpec

# The mini chip is for adding up by hand: round numbers, two cores, every memory small.
M890 = ChipSpec()
M890_MINI = ChipSpec(
    name="m890-mini",
    cores=2,
    sram_bytes=128 * KIB,
    sram_banks=8,
    sram_port_bytes_per_cycle=64,
    acc_bytes=64 * KIB,
    matrix_rows=32,
    matrix_columns=32,
    matrix_load_cycles=32,
    matrix_fill_cycles=10,
    vector_f32_lanes=16,
    vector_bf16_lanes=32,
    vector_startup_cycles=10,
    sfu_elements_per_cycle=4,
    sfu_startup_cycles=10,
    dma_queues=2,
    dma_bytes_per_cycle=16,
    dma_issue_cycles=10,
    dma_latency_cycles=80,
    dma_completion_cycles=10,
    dma_run_cycles=2,
    dma_in_flight=4,
    hbm_bytes_per_cycle=32,
    hbm_core_bytes_per_cycle=32,
    hbm_window_cycles=10,
    hbm_bytes=10**9,
    sequencer_dispatch_cycles=1,
    sequencer_loop_cycles=1,
    sequencer_scalar_cycles=1,
    sequencer_queue_entries=4,
    dynamic_fetch_cycles=10,
    dependence_cycles=5,
    launch_cycles=100,
    core_start_cycles=10,
    barrier_cycles=20,
)
# Narrow vector unit and SFU, half the HBM: here the exponentials and the traffic are dear, not the
# matrix unit.
M890_LEAN = M890.replace(
    name="m890-lean",
    vector_f32_lanes=64,
    vector_bf16_lanes=128,
    sfu_elements_per_cycle=16,
    hbm_bytes_per_cycle=1600,
)

CHIPS: dict[str, ChipSpec] = {chip.name: chip for chip in (M890, M890_MINI, M890_LEAN)}
