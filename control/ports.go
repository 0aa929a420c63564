package control

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/vswitchd/vswitchd/config"
	"github.com/vswitchd/vswitchd/frame"
	"github.com/vswitchd/vswitchd/port"
	vswitch "github.com/vswitchd/vswitchd/switch"
)

func (s *Server) status(*http.Request, []byte) (any, error) { return s.statusOf(), nil }

func (s *Server) statusOf() *Status {
	ports := s.sw.Ports()
	up := 0
	for _, p := range ports {
		if p.Link.Up {
			up++
		}
	}
	return &Status{
		Version: s.daemon.Version, PID: os.Getpid(), Uptime: time.Since(s.daemon.Started).Seconds(),
		VLANAware: s.sw.VLANAware(), Ports: len(ports), PortsUp: up, FDB: fdbInfo(s.sw), Resyncs: s.sw.Resyncs(),
		Metrics: s.daemon.Metrics, Config: s.daemon.Config,
	}
}

func (s *Server) stats(*http.Request, []byte) (any, error) { return s.statsNow(), nil }

func (s *Server) statsNow() *Stats {
	answer := &Stats{Ports: []PortStats{}, Departed: statsOf(s.sw.Departed())}
	for _, p := range s.sw.Ports() {
		answer.Ports = append(answer.Ports, portStats(&p))
	}
	return answer
}

func (s *Server) listPorts(*http.Request, []byte) (any, error) { return s.ports(), nil }

func (s *Server) ports() []Port {
	ports := []Port{}
	for _, p := range s.sw.Ports() {
		ports = append(ports, portOf(&p))
	}
	return ports
}

func (s *Server) showPort(r *http.Request, _ []byte) (any, error) {
	return s.port(r.PathValue("name"))
}

func (s *Server) port(name string) (any, error) {
	info, device, err := s.sw.Port(name)
	if err != nil {
		return nil, err
	}
	p := portOf(&info)
	p.Stats = new(portStats(&info))
	if device != nil {
		p.Device = &Device{Ifname: device.Ifname, Flags: device.Flags, Features: device.Features, VnetHdrLen: device.VnetHdrLen, Offloads: device.Offloads.String()}
	}
	return &p, nil
}

func (s *Server) addPort(_ *http.Request, body []byte) (any, error) {
	c, err := config.DecodePort(body)
	if err == nil {
		err = s.running.Change(func() error { return s.sw.Add(c) })
	}
	if err != nil {
		return nil, aboutPort(c.Name, err)
	}
	return s.port(c.Name)
}

func (s *Server) setPort(r *http.Request, body []byte) (any, error) {
	name := r.PathValue("name")
	err := s.running.Change(func() error {
		return s.sw.Set(name, func(c config.Port) (config.Port, error) { return c.Patched(body) })
	})
	if err != nil {
		return nil, aboutPort(name, err)
	}
	return s.port(name)
}

func (s *Server) removePort(r *http.Request, _ []byte) (any, error) {
	name := r.PathValue("name")
	info, _, _ := s.sw.Port(name) // If there is none, Remove says so.
	err := s.running.Change(func() error { return s.sw.Remove(name) })
	if err != nil || info.Rule == 0 {
		return nil, err
	}
	return &PortRemoved{fmt.Sprintf("port %s was of %s, which leaves %s alone until that link is made anew, the rules change or the daemon is restarted", name, origin(info.Rule), info.Link.Ifname)}, nil
}

// aboutPort names the port in errors that are about keys of its configuration.
func aboutPort(name string, err error) error {
	if ps, ok := errors.AsType[config.Problems](err); ok && name != "" {
		return fmt.Errorf("port %.40q: %w", name, ps)
	}
	return err
}

func portOf(p *vswitch.PortInfo) Port {
	out := Port{
		Name: p.Config.Name, Index: int(p.ID), Kind: p.Config.Kind,
		Ifname: p.Link.Ifname, Ifindex: p.Link.Index, Netns: p.Config.Netns,
		MAC: p.Link.MAC, MTU: p.Link.MTU, TxQLen: p.Link.TxQLen,
		Flags: linkFlags(p.Link), Up: p.Link.Up, State: p.State, Learned: p.Learned, Config: p.Config,
		Origin: origin(p.Rule),
	}
	if p.Link.NSID != port.OwnNSID {
		out.NSID = &p.Link.NSID
	}
	if p.Containments > 0 {
		out.Contained = &Containment{Now: p.Contained, Times: p.Containments, Lost: p.QueueLost}
	}
	if p.Socket != nil {
		out.Socket = socketOf(p.Socket)
	}
	return out
}

// origin names the rule with that number, from 1; 0 is none.
func origin(rule int) string {
	if rule == 0 {
		return ""
	}
	return fmt.Sprintf("auto_attach[%d]", rule-1)
}

func socketOf(i *port.SocketInfo) *Socket {
	s := &Socket{
		Connected: i.Connected, Connections: i.Connections, Refused: i.Refused,
		Lost: i.Lost, TooLong: i.TooLong, Ended: map[string]uint64{},
	}
	for why, n := range i.Ended {
		if n != 0 {
			s.Ended[port.End(why).String()] = n
		}
	}
	if i.Failure != nil {
		s.Failure = i.Failure.Error()
	}
	return s
}

func linkFlags(l port.Link) []string {
	flags := []string{}
	if l.AdminUp {
		flags = append(flags, "UP")
	}
	if l.Up {
		flags = append(flags, "LOWER_UP")
	}
	return flags
}

func portStats(p *vswitch.PortInfo) PortStats {
	s := statsOf(p.Stats)
	s.Name, s.ReceiveErrors, s.Coalesced = p.Config.Name, p.ReceiveErrors, p.Coalesced
	return s
}

func statsOf(s vswitch.PortStats) PortStats {
	out := PortStats{
		Receive: trafficOf(s.Receive), Transmit: trafficOf(s.Transmit), Relayed: s.Relayed, Copies: s.Copies,
		Flooded: map[string]uint64{}, DroppedIngress: map[string]uint64{}, DroppedEgress: map[string]uint64{},
	}
	out.Receive.Dropped, out.Transmit.Dropped = s.DroppedAt(frame.Ingress), s.DroppedAt(frame.Egress)
	for cause, n := range s.Flooded {
		if n != 0 {
			out.Flooded[vswitch.Cause(cause).String()] = n
		}
	}
	for why, n := range s.Dropped {
		switch r := frame.DropReason(why); {
		case n == 0:
		case r.Direction() == frame.Ingress:
			out.DroppedIngress[r.String()] = n
		default:
			out.DroppedEgress[r.String()] = n
		}
	}
	return out
}

func trafficOf(t vswitch.Traffic) Traffic {
	return Traffic{Frames: t.Frames, Bytes: t.Bytes, Multicast: t.Multicast, Broadcast: t.Broadcast}
}
