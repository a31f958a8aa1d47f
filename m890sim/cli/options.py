"""The words that stand for the same thing in many commands, explained once."""

KERNEL = "a file, a built-in name (m890 kernels lists them), or - for standard input"
TASK = (
    "a name that m890 tasks lists, or FILE.py:NAME (default: the built-in kernel's own, or the "
    "one whose parameters the kernel has)"
)
CASE = "a case of the task (default: its first; m890 tasks TASK lists them)"
CASES = "only this case of the task; may be given again (default: all)"
CHIP = "a name that m890 chips lists, FAMILY:SPLIT:NUMBER, or a TOML file (default: m890)"
JSON = "print one JSON object, also where the input is refused"
WORKERS = "processes that share the work; results are the same for any number (default: 1)"
RAY = "the address of a Ray cluster that does the work (`auto`: the one that runs here)"
