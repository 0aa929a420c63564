package vswitch

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	"github.com/vswitchd/vswitchd/port/porttest"
)

// TestPortThatStopsForwardingIsFlushedAfterItsWorkerNoticed holds a worker in
// the middle of a batch, so that it would learn a station after the flush if
// nobody waited for it.
func TestPortThatStopsForwardingIsFlushedAfterItsWorkerNoticed(t *testing.T) {
	for name, change := range map[string]func(*config.Port){
		"discarding":    func(p *config.Port) { p.State = config.StateDiscarding },
		"VLAN that was": func(p *config.Port) { p.Access = 20 },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, true, access("a", 10))
			slow := stuck{porttest.NewCable(1), make(chan struct{}, 16), make(chan struct{})}
			if err := r.Attach(access("slow", 10), slow, upLink); err != nil {
				t.Fatal(err)
			}
			for i := range outboxSize/frame.BatchSize + 1 {
				r.plug(access(fmt.Sprintf("p%d", i), 10))
			}
			r.cables["a"].Send(eth(frame.Broadcast, sta(1)))
			<-slow.entered
			for i := range frame.BatchSize {
				r.cables["a"].Send(eth(frame.Broadcast, sta(2+i)))
			}
			slow.release <- struct{}{}
			// With so many ports the outbox is full before the end of the batch:
			// the worker sends, and learns the last stations only afterwards.
			<-slow.entered

			done, was := make(chan struct{}), r.live.Load()
			go func() {
				defer close(done)
				r.set("a", change)
			}()
			for r.live.Load() == was {
				time.Sleep(time.Millisecond)
			}
			select { // It has to wait for the worker, and would be done in less.
			case <-done:
			case <-time.After(20 * time.Millisecond):
			}
			close(slow.release)
			<-done
			r.settled(r.ports["a"].counters, 1+frame.BatchSize)
			if e, err := r.FDB(FDBFilter{Port: "a", VID: new(frame.VID(10))}); err != nil || len(e) != 0 {
				t.Errorf("%d stations of a are still known, %v", len(e), err)
			}
		})
	}
}

func TestPortsCanBeListedWhileTheyChange(t *testing.T) {
	r := plain(t)
	var busy sync.WaitGroup
	for _, f := range []func(i int){
		func(int) { r.Ports() },
		func(i int) { r.set("a", func(p *config.Port) { p.Isolated = config.Group(i % 3) }) },
		func(i int) { r.setLink("b", port.Link{MTU: 1500 + i%2, Up: i%3 != 0}) },
		func(i int) { r.send("c", eth(frame.Broadcast, sta(i))) },
	} {
		busy.Go(func() {
			for i := range 200 {
				f(i)
			}
		})
	}
	busy.Wait()
	r.balanced()
}
