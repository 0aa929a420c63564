package vswitch

import (
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
)

// clock measures the FDB's time in ticks: one second, or longer where the
// ageing time would not fit otherwise. It follows the monotonic clock, which a
// changed date does not move.
type clock struct {
	start  time.Time
	base   int // the tick at start
	unit   time.Duration
	ageing int // seconds, 0 for never
	swept  int // the tick of the last sweep
}

// now counts the ticks; the FDB sees the last 16 bits.
func (c *clock) now() int { return c.base + int(time.Since(c.start)/c.unit) }

// maxSweep is the most ticks between two sweeps that the table can stand.
const maxSweep = 4096

// sweepEvery returns how many ticks may pass between two sweeps of the table.
// Expired entries are not used in the meantime; they only take up room.
func (c *clock) sweepEvery() int {
	if c.ageing == 0 {
		return maxSweep / 4
	}
	return max(int(c.ticks())/16, 1)
}

// ticks returns the ageing time in ticks.
func (c *clock) ticks() fdb.Tick { return fdb.Tick(time.Duration(c.ageing) * time.Second / c.unit) }

// setAgeing changes the ageing time. Entries keep their age, and the tick goes
// on from where it is, so that workers may read it before or after. The caller
// holds mu, or is New.
func (s *Switch) setAgeing(seconds int) {
	const most = int(fdb.MaxAgeing)
	unit := time.Duration(max(1, (seconds+most-1)/most)) * time.Second
	old := s.clock
	if old.unit == unit {
		s.clock.ageing = seconds
		s.table.SetAgeing(s.clock.ticks(), fdb.Tick(s.tick.Load()), nil)
		return
	}
	now := int(s.tick.Load())
	s.clock = clock{start: time.Now(), base: now, unit: unit, ageing: seconds, swept: now}
	s.table.SetAgeing(s.clock.ticks(), fdb.Tick(now), func(age fdb.Tick) fdb.Tick {
		return fdb.Tick(min(time.Duration(age)*old.unit/unit, time.Duration(most)))
	})
}

// keepTime advances the tick and sweeps the FDB until the switch is closed.
func (s *Switch) keepTime() {
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-beat.C:
			s.advance()
			s.tellCounted()
			s.mu.Lock()
			s.gatherDrops(time.Now())
			s.mu.Unlock()
		case <-s.fetching.C:
			s.mu.Lock()
			s.fetch()
			s.mu.Unlock()
		}
	}
}

// advance brings the tick up to the present. If the process was stopped for
// long it goes in steps, with a sweep at each, so that nobody silent meanwhile
// seems young because the tick has wrapped.
func (s *Switch) advance() {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &s.clock
	present := c.now()
	for present-c.swept >= c.sweepEvery() {
		c.swept = min(c.swept+maxSweep, present)
		s.tick.Store(uint32(c.swept))
		s.table.Age(fdb.Tick(c.swept))
	}
	s.tick.Store(uint32(present))
}

// FDBSettings are the parameters of the FDB that can change at run time. A nil
// field is left as it is.
type FDBSettings struct {
	// Ageing is in seconds: 10 to 1,000,000, or 0 for never.
	Ageing *int `json:"ageing,omitempty"`
	// Limit is the most learned addresses; negative is no limit but capacity.
	Limit *int `json:"limit,omitempty"`
}

// SetFDB changes ageing time and limit.
func (s *Switch) SetFDB(f FDBSettings) error {
	if a := f.Ageing; a != nil && *a != 0 && (*a < config.MinAgeing || *a > config.MaxAgeing) {
		return invalidf("ageing time %d s: want %d to %d seconds, or 0 for never", *a, config.MinAgeing, config.MaxAgeing)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Ageing != nil {
		s.setAgeing(*f.Ageing)
		s.settings.Ageing = new(*f.Ageing)
	}
	if f.Limit != nil {
		s.table.SetLimit(*f.Limit)
		s.settings.Limit = new(*f.Limit)
		if *f.Limit < 0 {
			s.settings.Limit = nil
		}
	}
	if f != (FDBSettings{}) {
		s.tell(Event{Kind: ConfigFDB})
	}
	return nil
}
