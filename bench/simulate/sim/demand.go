package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"time"

	"github.com/gti/gtm/pkg/prefetch"
)

// Country is where a part of the demand comes from.
type Country struct {
	Code string  // ISO 3166-1
	Size float64 // its part of the demand of a day, beside the others
	East float64 // hours that its clocks are ahead of UTC
}

// Countries are forty-six countries, sized by their Internet users in millions. The sizes are rounded by hand to the order of magnitude
// that is generally told for 2023: good enough for a shape of demand, and not to be cited. Large countries have the hours of their middle.
var Countries = []Country{
	{"AE", 9, 4}, {"AR", 40, -3}, {"AU", 25, 10}, {"BD", 75, 6}, {"BR", 180, -3}, {"CA", 36, -5}, {"CH", 9, 1}, {"CL", 17, -4},
	{"CN", 1050, 8}, {"CO", 39, -5}, {"DE", 78, 1}, {"DZ", 33, 1}, {"EG", 80, 2}, {"ES", 45, 1}, {"FR", 60, 1}, {"GB", 66, 0},
	{"ID", 215, 7}, {"IL", 8, 2}, {"IN", 880, 5.5}, {"IR", 75, 3.5}, {"IT", 51, 1}, {"JP", 105, 9}, {"KE", 22, 3}, {"KR", 50, 9},
	{"MA", 33, 0}, {"MX", 100, -6}, {"MY", 33, 8}, {"NG", 110, 1}, {"NL", 17, 1}, {"NZ", 5, 12}, {"PE", 26, -5}, {"PH", 85, 8},
	{"PK", 110, 5}, {"PL", 33, 1}, {"RO", 17, 2}, {"RU", 130, 3}, {"SA", 36, 3}, {"SE", 10, 1}, {"SG", 6, 8}, {"TH", 61, 7},
	{"TR", 71, 3}, {"TW", 22, 8}, {"UA", 30, 2}, {"US", 310, -6}, {"VN", 78, 7}, {"ZA", 45, 2},
}

// day is what is asked for at each hour of a day, of what is asked for at its peak. It is synthetic: an evening of watching.
var day = [24]float64{.45, .32, .25, .22, .22, .25, .33, .43, .50, .55, .58, .62, .66, .64, .62, .63, .67, .74, .83, .93, 1, .98, .85, .65}

// hour gives the demand at an hour of the day, between those of the table.
func hour(h float64) float64 {
	h = math.Mod(math.Mod(h, 24)+24, 24)
	at, part := int(h), h-math.Floor(h)
	return day[at]*(1-part) + day[(at+1)%24]*part
}

// demand is how many sessions begin, and in which country: a Poisson process, whose rate is that of the minute.
type demand struct {
	countries []Country
	start     time.Time
	scale     float64   // sessions a second for each unit of size and hour
	sums      []float64 // of the rates of the countries up to each, in sessions a second
}

// newDemand has so many sessions begin a second, on the average of a day.
func newDemand(countries []Country, perSecond float64, start time.Time) *demand {
	d := &demand{countries: countries, start: start, scale: 1, sums: make([]float64, len(countries))}
	mean := 0.0
	for minute := range 24 * 60 {
		mean += d.rate(time.Duration(minute)*time.Minute) / (24 * 60)
	}
	d.scale = perSecond / mean
	return d
}

// rate gives the sessions that begin in a second at a moment, and notes those of each country.
func (d *demand) rate(now time.Duration) float64 {
	at := d.start.Add(now).UTC()
	utc := float64(at.Hour()) + float64(at.Minute())/60
	sum := 0.0
	for i, c := range d.countries {
		sum += d.scale * c.Size * hour(utc+c.East)
		d.sums[i] = sum
	}
	return sum
}

// peak gives the minute of the first day in which most is asked for.
func (d *demand) peak() time.Duration {
	rates := make([]float64, 24*60)
	for minute := range rates {
		rates[minute] = d.rate(time.Duration(minute) * time.Minute)
	}
	return time.Duration(slices.Index(rates, slices.Max(rates))) * time.Minute
}

// arrivals are the clients that want to begin a session, in order. They are drawn some at a time, so that what each of them needs from
// memory comes at the same time.
type arrivals struct {
	demand *demand
	crowd  *crowd
	random *rand.Rand
	rate   float64
	memory [ahead]arrival
	drawn  []arrival     // in memory
	last   time.Duration // of those that were drawn
}

type arrival struct {
	at     time.Duration
	client uint32
}

// ahead is how many arrivals are drawn at a time.
const ahead = 32

// turnMinute takes the rate of a new minute. What was drawn by the old one is forgotten, as a process without memory may.
func (a *arrivals) turnMinute(now time.Duration) {
	a.rate, a.last, a.drawn = a.demand.rate(now), now, a.drawn[:0]
}

// next gives who comes next.
func (a *arrivals) next() *arrival {
	if len(a.drawn) == 0 {
		a.draw()
	}
	return &a.drawn[0]
}

// take takes next off.
func (a *arrivals) take() { a.drawn = a.drawn[1:] }

func (a *arrivals) draw() {
	a.drawn = a.memory[:]
	for i := range a.drawn {
		a.last += time.Duration(a.random.ExpFloat64() / a.rate * float64(time.Second))
		country := sort.SearchFloat64s(a.demand.sums, a.random.Float64()*a.rate)
		client := a.crowd.draw(country, a.random)
		prefetch.Of(&a.crowd.clients[client])
		a.drawn[i] = arrival{a.last, client}
	}
	for i := range a.drawn {
		prefetch.Of(&a.crowd.resolvers[a.crowd.clients[a.drawn[i].client].resolver])
	}
}
