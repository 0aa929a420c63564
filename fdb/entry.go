package fdb

import "github.com/vswitchd/vswitchd/frame"

// Entry is what the table knows of a station, in one word:
//
//	bits  0-15  port
//	bits 16-35  next hop, reserved for ports with several, 0
//	bits 36-51  tick at which the station was last heard
//	bits 52-59  generation of the port, 1 to 255
//	bits 60-63  flags: static, sticky (reserved), blackhole, external (reserved)
//
// As no generation is 0, the zero Entry is none.
type Entry uint64

const (
	tickShift       = 36
	generationShift = 52

	flagStatic    Entry = 1 << 60
	flagBlackhole Entry = 1 << 62

	tickMask = Entry(0xffff) << tickShift
)

// generation tells the dynamic entries of a port from those it had before it
// was last flushed. It is 1 to 255.
type generation uint8

// next returns the generation that follows g.
func (g generation) next() generation { return g%255 + 1 }

func makeEntry(p frame.PortID, now Tick, g generation) Entry {
	return Entry(p) | Entry(now)<<tickShift | Entry(g)<<generationShift
}

// Port returns the port behind which the station is. It is 0 and means nothing
// for a blackhole.
func (e Entry) Port() frame.PortID { return frame.PortID(e) }

// Static reports whether the entry was put in by Add: a static entry or a
// blackhole.
func (e Entry) Static() bool { return e&flagStatic != 0 }

// Blackhole reports whether frames to the station are to be discarded.
func (e Entry) Blackhole() bool { return e&flagBlackhole != 0 }

func (e Entry) kind() Kind {
	switch {
	case e.Blackhole():
		return Blackhole
	case e.Static():
		return Static
	}
	return Dynamic
}

func (e Entry) tick() Tick { return Tick(e >> tickShift) }

// Age is how long ago the station was last heard; it means nothing for a static
// entry.
func (e Entry) Age(now Tick) Tick { return now.since(e.tick()) }

func (e Entry) withTick(now Tick) Entry { return e&^tickMask | Entry(now)<<tickShift }

func (e Entry) generation() generation { return generation(e >> generationShift) }

// Kind says how an entry came into the table and what it does.
type Kind uint8

// The kinds of entry.
const (
	Dynamic   Kind = iota // learned; ages and moves
	Static                // added; neither ages nor moves
	Blackhole             // added; frames to the station are discarded
)

// Record is an entry as it is listed.
type Record struct {
	Key  Key
	Port frame.PortID // 0 for a blackhole
	Kind Kind
	Age  Tick // since the station was last heard; 0 unless Kind is Dynamic
}

func (e Entry) record(k Key, now Tick) Record {
	r := Record{Key: k, Port: e.Port(), Kind: e.kind()}
	if r.Kind == Dynamic {
		r.Age = e.Age(now)
	}
	return r
}
