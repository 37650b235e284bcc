// Package demand counts who asks for what: queries by service and by the country of the client, in bounded memory, where what is old
// counts less.
package demand

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// Day is after how long what was counted is worth 1/e of a new query. Where every day is alike, the counts are those of one day.
const Day = 24 * time.Hour

// worth is what queries of so long ago count.
func worth(age time.Duration) float64 { return math.Exp(-max(age, 0).Hours() / Day.Hours()) }

// Country is a code of ISO 3166-1, as in DE, in two bytes. Zero: not known.
type Country uint16

// CountryOf reads a code; what is none is not known.
func CountryOf(code string) Country {
	if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return 0
	}
	return Country(code[0])<<8 | Country(code[1])
}

func (c Country) String() string {
	if c == 0 {
		return ""
	}
	return string([]byte{byte(c >> 8), byte(c)})
}

// MostCountries is how many countries a sketch tells apart of a service, the unknown one among them. Further ones take the place of the
// smallest, and with that its count (Space-Saving, Metwally et al. 2005): of no country are there fewer queries than is right, or more
// by above 1/48 of those of the service; and all of them together are what was counted.
const MostCountries = 48

// Counts are the queries for one thing. The zero value is empty.
type Counts struct {
	// Queries is how many there were, as what was sampled stands for; Samples is by how many samples.
	Queries, Samples float64
	cells            []cell // by country
}

type cell struct {
	country Country
	queries float64
}

// add counts queries of a country, of at most so many countries.
func (c *Counts) add(country Country, queries float64, most int) {
	c.Queries += queries
	at, found := slices.BinarySearchFunc(c.cells, country, func(have cell, want Country) int { return cmp.Compare(have.country, want) })
	switch {
	case found:
		c.cells[at].queries += queries
	case len(c.cells) < most:
		c.cells = slices.Insert(c.cells, at, cell{country, queries})
	default:
		c.replace(at, cell{country, queries})
	}
}

// replace has a new country, whose place is before at, take over what the smallest one has.
func (c *Counts) replace(at int, by cell) {
	least := 0
	for i := range c.cells {
		if c.cells[i].queries < c.cells[least].queries {
			least = i
		}
	}
	by.queries += c.cells[least].queries
	c.cells = slices.Delete(c.cells, least, least+1)
	if least < at {
		at--
	}
	c.cells = slices.Insert(c.cells, at, by)
}

// age has what was counted be worth less.
func (c *Counts) age(worth float64) {
	c.Queries *= worth
	c.Samples *= worth
	for i := range c.cells {
		c.cells[i].queries *= worth
	}
}

// Of gives how many queries came from a country.
func (c *Counts) Of(country Country) float64 {
	for i := range c.cells {
		if c.cells[i].country == country {
			return c.cells[i].queries
		}
	}
	return 0
}

// Part is the queries of one country.
type Part struct {
	Country string // empty: not known
	Queries float64
}

// Parts gives the queries of each country, most first.
func (c *Counts) Parts() []Part {
	parts := make([]Part, 0, len(c.cells))
	for _, each := range c.cells {
		parts = append(parts, Part{each.country.String(), each.queries})
	}
	slices.SortFunc(parts, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Queries, a.Queries), cmp.Compare(a.Country, b.Country))
	})
	return parts
}
