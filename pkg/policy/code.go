package policy

import (
	"encoding/binary"
	"iter"
)

// A row is written down as it is found, in a code that is the same for equal rows, so that most places cost no more than that: their row is
// known by its code. It is
//
//	row   = uvarint(1 + TTL, or 0) list list        of the rules, and of lastResort
//	list  = step* 0
//	step  = 1 (uvarint(weight) list)* 0             a split
//	      | 2 list                                  the first of its steps that answers
//	      | 3 + pool
//
// with every number a uvarint.
const (
	codeEnd = iota
	codeSplit
	codeFirst
	codePool
)

// Node is a choice among arms, or a pool.
type Node struct {
	Kind Kind
	Pool int // of Policy.Pools, of a Leaf
	Arms []Arm
}

// Kind is how a Node chooses.
type Kind uint8

// The kinds of a Node.
const (
	Leaf  Kind = iota
	First      // the first arm that gives an answer
	Split      // by the weights of the arms that do
)

// Arm is a node below another.
type Arm struct {
	Node   Node
	Weight int // 1 to 65,535, of a Split
}

// Step is a step of a row, in a code that is the same for equal steps.
type Step string

// Leaf gives the pool of a step that is no more than that.
func (s Step) Leaf() (pool int, ok bool) {
	what, n := uvarint(string(s))
	return int(what) - codePool, what >= codePool && n == len(s)
}

// Node gives what the step is.
func (s Step) Node() Node {
	n, _ := readStep([]byte(s))
	return n
}

// Group gives the pools of a step that shares answers among pools alone, by weight; nil: it is another.
func (n *Node) Group() []Arm {
	if n.Kind != Split {
		return nil
	}
	for i := range n.Arms {
		if n.Arms[i].Node.Kind != Leaf {
			return nil
		}
	}
	return n.Arms
}

// Pools gives the pools below the step, of Policy.Pools. One may come twice.
func (s Step) Pools() iter.Seq[int] {
	return func(yield func(int) bool) { eachPool(s.Node(), yield) }
}

func eachPool(n Node, yield func(int) bool) bool {
	if n.Kind == Leaf {
		return yield(n.Pool)
	}
	for i := range n.Arms {
		if !eachPool(n.Arms[i].Node, yield) {
			return false
		}
	}
	return true
}

// readStep reads a step. What follows it is left.
func readStep(b []byte) (n Node, left []byte) {
	what, b := number(b)
	switch what {
	case codeSplit:
		n.Kind = Split
		for {
			var weight uint64
			if weight, b = number(b); weight == codeEnd {
				return n, b
			}
			var list []Node
			list, b = readList(b)
			n.Arms = append(n.Arms, Arm{whole(list), int(weight)})
		}
	case codeFirst:
		list, left := readList(b)
		return whole(list), left
	}
	return Node{Pool: int(what) - codePool}, b
}

func readList(b []byte) (list []Node, left []byte) {
	for b[0] != codeEnd {
		var n Node
		n, b = readStep(b)
		list = append(list, n)
	}
	return list, b[1:]
}

// whole makes one node of steps.
func whole(steps []Node) Node {
	if len(steps) == 1 {
		return steps[0]
	}
	n := Node{Kind: First, Arms: make([]Arm, len(steps))}
	for i := range steps {
		n.Arms[i] = Arm{steps[i], 1}
	}
	return n
}

func number(b []byte) (uint64, []byte) {
	if b[0] < 0x80 {
		return uint64(b[0]), b[1:]
	}
	v, n := binary.Uvarint(b)
	return v, b[n:]
}

// Row is what clients of a place draw from, in code. Equal rows are equal strings: which rule led there makes no difference.
type Row string

// each calls visit for each step of the row, those of lastResort behind the others, and gives the TTL, in seconds, of the rules that led
// there; -1: none has one.
func (r Row) each(visit func(step string, last bool)) (ttl int64) {
	head, n := uvarint(string(r))
	b := string(r)[n:]
	for _, last := range []bool{false, true} {
		for b[0] != codeEnd {
			end := len(b) - len(skipStep(b))
			visit(b[:end], last)
			b = b[end:]
		}
		b = b[1:]
	}
	return int64(head) - 1
}

// skipStep gives what follows a step.
func skipStep(b string) string {
	what, n := uvarint(b)
	b = b[n:]
	switch what {
	case codeSplit:
		for {
			weight, n := uvarint(b)
			if b = b[n:]; weight == codeEnd {
				return b
			}
			b = skipList(b)
		}
	case codeFirst:
		return skipList(b)
	}
	return b
}

func skipList(b string) string {
	for b[0] != codeEnd {
		b = skipStep(b)
	}
	return b[1:]
}

func uvarint(b string) (v uint64, n int) {
	for shift := 0; ; shift += 7 {
		c := b[n]
		n++
		if v |= uint64(c&0x7f) << shift; c < 0x80 {
			return v, n
		}
	}
}
