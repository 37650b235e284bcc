// Package rate bounds how many requests each tenant makes, so that one tenant's storm takes no other's turn.
package rate

import (
	"maps"
	"sync"
	"time"
)

// Window is over how long a tenant may use its requests at once.
const Window = 10 * time.Second

// tidyEvery is how often those who ask no more are forgotten.
const tidyEvery = time.Minute

// Limits count the requests of tenants. They are safe for concurrent use. The zero value has seen none.
type Limits struct {
	mu      sync.Mutex
	buckets map[string]*bucket
	tidied  time.Time
}

// bucket is what a tenant has left, as of a time.
type bucket struct {
	left float64
	at   time.Time
}

// Left is what a tenant has left after a request.
type Left struct {
	Most, Requests int           // of Most within Window
	Reset          time.Duration // until it has all of them again
	Wait           time.Duration // until it has one; 0: the request is within the limit
}

// Take counts a request of a tenant that may make so many a second.
func (l *Limits) Take(tenant string, each int, now time.Time) Left {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tidy(now)
	most := float64(each) * Window.Seconds()
	b := l.buckets[tenant]
	if b == nil {
		b = &bucket{left: most, at: now}
		l.buckets[tenant] = b
	}
	b.left = min(most, b.left+max(0, now.Sub(b.at).Seconds())*float64(each))
	b.at = now
	out := Left{Most: int(most)}
	if b.left < 1 {
		out.Wait = seconds((1 - b.left) / float64(each))
	} else {
		b.left--
	}
	out.Requests, out.Reset = int(b.left), seconds((most-b.left)/float64(each))
	return out
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// tidy forgets tenants that have all of their requests again; l.mu is held.
func (l *Limits) tidy(now time.Time) {
	if l.buckets == nil {
		l.buckets = map[string]*bucket{}
	}
	if now.Sub(l.tidied) < tidyEvery {
		return
	}
	l.tidied = now
	maps.DeleteFunc(l.buckets, func(_ string, b *bucket) bool { return now.Sub(b.at) > Window })
}
