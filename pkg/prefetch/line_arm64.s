#include "textflag.h"

TEXT ·line(SB), NOSPLIT, $0-8
	MOVD p+0(FP), R0
	PRFM (R0), PLDL1KEEP
	RET

TEXT ·lines(SB), NOSPLIT, $0-24
	MOVD at_base+0(FP), R0
	MOVD at_len+8(FP), R1
	ADD  R1<<3, R0, R1
next:
	CMP  R1, R0
	BHS  done
	MOVD.P 8(R0), R2
	PRFM (R2), PLDL1KEEP
	B    next
done:
	RET
