#!/usr/bin/env m890
#	tab, and blanks behind   

# before the import
from m890sim.lang import *  # beside the import
# between


# before the decorator
@kernel  # beside the decorator
def comments(  # the parameters
    # x, the input
    x: Tensor["T", 16],  # beside x
    o: Tensor["T", 16],
    n: Size  # beside n
):  # beside def
    # before the docstring
    """Two lines,
    the second one indented, with "quotes" and \\ in it."""  # beside the docstring
    # before the first statement
    first = n; second = (  # inside the brackets
        # alone inside the brackets
        n + 1
    )  # beside second

    # before the phase
    for i in cores(T):  # beside the phase
        # before the tile
        a = sram(8, 16, bf16)  # beside the tile
        if n > first: fill(a, 0.0)  # beside a block in one line
        elif n > 3:  # beside elif
            # before pass
            pass  # beside pass
            # after pass
        # before elif
        elif n > 4:
            fill(a, 1.0)
        # before else
        else:  # beside else
            fill(a,
                 # between operands
                 2.0,  # beside an operand
                 )
        load(a[:1], x[i : i + 1, :]);
        store(o[i : i + 1, :], a[:1]); fence()  # two statements in a line
        # end of the inner block
    # end of the kernel
# end of the file: äöü 漢字 🙂
