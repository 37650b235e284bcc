package answer

import "math/bits"

// generator gives the random numbers of draws. It is wyrand (Wang Yi), which passes BigCrush and PractRand, and takes one
// multiplication where those of math/rand/v2 take three to five. It is not for secrets.
type generator uint64

// seed starts it; rows of the same seed go ways of their own.
func (g *generator) seed(seed, row uint64) {
	*g = generator(seed)
	first := g.next()
	*g = generator(first ^ row*0x9e3779b97f4a7c15)
	*g = generator(g.next())
}

// next gives the next number.
func (g *generator) next() uint64 {
	*g += 0xa0761d6478bd642f
	hi, lo := bits.Mul64(uint64(*g), uint64(*g)^0xe7037ed1a0b428db)
	return hi ^ lo
}
