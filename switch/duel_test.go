package vswitch

import (
	"encoding/binary"
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/fdb"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// dice answers with a number from 0 to n-1. All that a comparison does follows
// from it.
type dice func(n int) int

func (d dice) one(in int) bool { return d(in) == 0 }

func pick[T any](d dice, from ...T) T { return from[d(len(from))] }

// silent is a cable on which the worker's own goroutine receives nothing, so
// that the test can run the worker in its place.
type silent struct {
	*porttest.Cable
	closed chan struct{}
}

func (c silent) ReadBatch(*frame.Batch) error {
	<-c.closed
	return os.ErrClosed
}

func (c silent) Close() error {
	close(c.closed)
	return nil
}

// duel is a switch beside its model.
type duel struct {
	testing.TB
	dice
	s      *Switch
	m      *model
	cables map[string]silent
	names  []string // of the ports present
	free   []string // of ports that are not
	serial uint32
}

// newDuel makes a switch whose clock only the test moves.
func newDuel(t testing.TB, d dice) *duel {
	t.Helper()
	const reserved config.Reserved = 1 << 2
	aware := d.one(2)
	s := &Switch{
		vlanAware: aware, table: fdb.New(config.MinCapacity), reserved: reserved, clock: clock{unit: time.Second},
		ports: map[string]*attached{}, byTAP: map[*port.TAP]*attached{}, stop: make(chan struct{}),
	}
	s.live.Store(&snapshot{vlanAware: aware})
	s.table.SetAgeing(modelAgeing, 0, nil)
	m := &model{aware: aware, reserved: reserved, ports: map[string]*modelPort{}, fdb: map[modelKey]*modelEntry{}}
	u := &duel{TB: t, dice: d, s: s, m: m, cables: map[string]silent{}}
	u.free = []string{"spare"}
	for i := range pick(d, 4, 4, 4, 4, 4, 4, 40) {
		u.add(fmt.Sprint("p", i))
	}
	return u
}

func (u *duel) close() {
	u.Helper()
	u.must(u.s.Close())
}

func (u *duel) must(err error) {
	u.Helper()
	if err != nil {
		u.Fatal(err)
	}
}

func (u *duel) vid() frame.VID { return pick[frame.VID](u.dice, 10, 20, 30, 4094) }

func (u *duel) vids() config.VIDs {
	var vids []frame.VID
	for range 1 + u.dice(3) {
		vids = append(vids, u.vid())
	}
	return config.VIDsOf(vids...)
}

// port draws a port's configuration. Most draws leave a key at its default, or
// hardly a frame would pass.
func (u *duel) port(name string) config.Port {
	p := config.Port{Name: name}
	for _, flag := range []**bool{&p.Learning, &p.Flood, &p.McastFlood, &p.BcastFlood} {
		if u.one(6) {
			*flag = new(false)
		}
	}
	p.Isolated = pick[config.Group](u.dice, 0, 0, 0, 1, 1, 2)
	p.Role = pick(u.dice, "", "", "", config.RoleHost, config.RoleUplink)
	p.Locked = u.one(8)
	p.State = pick(u.dice, "", "", "", "", "", "", config.StateForwarding, config.StateLearning, config.StateDiscarding)
	p.ForwardReserved = pick[config.Reserved](u.dice, 0, 0, 1<<0x0e, config.ReservedAll)
	if u.one(4) {
		p.Limit = new(u.dice(4))
	}
	if !u.m.aware {
		return p
	}
	switch u.dice(8) {
	case 0, 1:
		p.Access = u.vid()
	case 2:
		p.Trunk = u.vids()
	case 3, 4:
		p.Trunk, p.Native = u.vids(), u.vid()
	case 5, 6:
		p.Tagged = u.vids()
		if v := u.vid(); !p.Tagged.Contains(v) {
			p.Untagged = config.VIDsOf(v)
		}
		p.PVID = pick(u.dice, 0, u.vid())
	}
	p.FrameTypes = pick(u.dice, "", "", "", config.FrameTypesAll, config.FrameTypesTagged, config.FrameTypesUntagged)
	if u.one(4) {
		p.IngressFiltering = new(false)
	}
	return p
}

func (u *duel) link() port.Link {
	return port.Link{MTU: pick(u.dice, 1500, 1500, 200, 68), Up: !u.one(8)}
}

func (u *duel) add(name string) {
	p, c := u.port(name), silent{porttest.NewCable(0), make(chan struct{})}
	u.must(u.s.Attach(p, c, upLink))
	u.cables[name], u.m.ports[name] = c, &modelPort{link: upLink}
	u.m.ports[name].configure(p)
	u.names = append(u.names, name)
}

// change makes one change of the configuration on both sides.
func (u *duel) change() {
	name, key := pick(u.dice, u.names...), modelKey{mac: sta(1 + u.dice(6))}
	if u.m.aware {
		key.vid = u.vid()
	}
	p := u.m.ports[name]
	switch u.dice(12) {
	case 0, 1, 2:
		next := u.port(name)
		u.must(u.s.Set(name, func(config.Port) (config.Port, error) { return next, nil }))
		u.m.set(name, next, p.link)
	case 3, 4:
		link := u.link()
		(&rig{TB: u.TB, Switch: u.s}).setLink(name, link)
		u.m.set(name, p.config, link)
	case 5:
		p.refuse = pick(u.dice, frame.Keep, frame.Keep, frame.DropLinkDown, frame.DropQueueFull, frame.DropTransmitError, frame.DropPortGone)
		u.cables[name].Refuse(p.refuse)
	case 6:
		if err := u.s.AddFDB(key.mac, key.vid, name); (err == nil) != (!u.m.aware || u.m.ports[name].member[key.vid]) {
			u.Fatalf("static entry %v at %s: %v", key, name, err)
		} else if err != nil {
			return
		}
		u.m.fdb[key] = &modelEntry{kind: fdb.Static, port: name}
	case 7:
		if u.one(2) {
			u.must(u.s.AddFDB(key.mac, key.vid, ""))
			u.m.fdb[key] = &modelEntry{kind: fdb.Blackhole}
			return
		}
		if err := u.s.RemoveFDB(key.mac, key.vid); (err == nil) != (u.m.fdb[key] != nil) {
			u.Fatalf("removal of %v: %v", key, err)
		}
		delete(u.m.fdb, key)
	case 8:
		u.flush(name, key)
	case 9:
		u.m.noRoom = u.one(4)
		u.must(u.s.SetFDB(FDBSettings{Limit: new(pick(u.dice, -1, 1000))}))
		if u.m.noRoom {
			u.must(u.s.SetFDB(FDBSettings{Limit: new(0)}))
		}
	case 10:
		u.m.now += pick(u.dice, 1, 100, 100) // comes to exactly the ageing time often enough
		u.s.tick.Store(uint32(u.m.now))
		if u.one(4) || u.m.now%4096 < 200 {
			u.s.table.Age(fdb.Tick(u.m.now))
			maps.DeleteFunc(u.m.fdb, func(_ modelKey, e *modelEntry) bool { return u.m.expired(e) })
		}
	case 11:
		u.must(u.s.Remove(name))
		u.m.remove(name)
		u.names = slices.DeleteFunc(u.names, func(n string) bool { return n == name })
		delete(u.cables, name)
		u.free = append(u.free, name)
		next := u.dice(len(u.free))
		name = u.free[next]
		u.free = slices.Delete(u.free, next, next+1)
		u.add(name)
	}
}

func (u *duel) flush(name string, key modelKey) {
	var f FDBFilter
	which := u.dice(8)
	if which&1 != 0 {
		f.Port = name
	}
	if which&2 != 0 {
		f.VID = &key.vid
	}
	if which&4 != 0 {
		f.MAC = &key.mac
	}
	want := u.m.flush(func(k modelKey, e *modelEntry) bool {
		return (f.Port == "" || e.port == name) && (f.VID == nil || k.vid == key.vid) && (f.MAC == nil || k.mac == key.mac)
	})
	if got, err := u.s.FlushFDB(f); err != nil || got != want {
		u.Fatalf("flushed %d by %+v, %v; the model %d", got, f, err, want)
	}
}

func (u *duel) address() frame.MAC {
	switch u.dice(24) {
	case 0:
		return frame.MAC{}
	case 1, 2:
		return frame.Broadcast
	case 3, 4:
		return frame.MAC{0x01, 0x00, 0x5e, 0, 0, byte(u.dice(2))}
	case 5:
		return frame.MAC{0x01, 0x80, 0xc2, 0, 0, byte(u.dice(18))}
	}
	return sta(1 + u.dice(6))
}

func (u *duel) tag() []byte {
	vid := u.vid()
	if u.one(6) {
		vid = pick[frame.VID](u.dice, 0, 0, 99, 4095)
	}
	return ctag(uint8(u.dice(8)), u.one(2), vid)
}

func (u *duel) frame() porttest.Sent {
	dst, src, stag := u.address(), sta(1+u.dice(6)), []byte{0x88, 0xa8, byte(u.dice(256)), 10}
	if u.one(16) {
		src = u.address()
	}
	b := slices.Concat(dst[:], src[:])
	b = slices.Concat(b, pick(u.dice, nil, nil, nil, nil, u.tag(), u.tag(), u.tag(), slices.Concat(u.tag(), u.tag()), slices.Concat(u.tag(), stag), stag))
	b = append(b, pick(u.dice, []byte{8, 0}, []byte{8, 0}, []byte{0, 3}, []byte{0x81, 0})...)
	u.serial++
	b = binary.BigEndian.AppendUint32(b, u.serial)
	switch u.dice(16) {
	case 0:
		return porttest.Sent{Bytes: b[:u.dice(len(b))]}
	case 1, 2:
		b = append(b, make([]byte, pick(u.dice, 68, 200, 1500)+12+u.dice(12)-len(b))...)
	case 3:
		return u.superFrame(b)
	}
	return porttest.Sent{Bytes: append(b, make([]byte, max(0, 60-len(b)))...)}
}

// superFrame makes of b a TCP/IPv4 super-frame, as far as the switch can tell.
func (u *duel) superFrame(b []byte) porttest.Sent {
	o := frame.Offload{Flags: frame.FlagNeedsCsum, GSOType: frame.GSOTCPv4, CsumStart: uint16(len(b) + 20), CsumOffset: 16}
	if u.one(8) {
		o.GSOType = 77
	}
	o.HdrLen = o.CsumStart + 20
	o.GSOSize = uint16(pick(u.dice, 200, 1500) - 60 + u.dice(40))
	b = append(b, make([]byte, 60+u.dice(2)*2000)...)
	b[o.CsumStart+12] = 5 << 4
	return porttest.Sent{Bytes: b, Offload: o}
}
