package metrics

import "github.com/prometheus/client_golang/prometheus"

// One table of every metric: name, help and labels. Directions are the
// switch's: received from the station behind the port, transmitted to it.
var (
	receiveFrames    = desc("port_receive_frames_total", "Frames received by the switch from the port's station; a super-frame counts once.", "port")
	receiveBytes     = desc("port_receive_bytes_total", "Bytes received by the switch from the port's station, without FCS.", "port")
	receiveMulticast = desc("port_receive_multicast_frames_total", "Multicast frames received by the switch from the port's station, broadcast not included.", "port")
	receiveBroadcast = desc("port_receive_broadcast_frames_total", "Broadcast frames received by the switch from the port's station.", "port")
	receiveErrors    = desc("port_receive_errors_total", "Reads from the port's device that failed; no frame was received.", "port")

	transmitFrames    = desc("port_transmit_frames_total", "Frames transmitted by the switch to the port's station; a super-frame counts once.", "port")
	transmitBytes     = desc("port_transmit_bytes_total", "Bytes transmitted by the switch to the port's station, without FCS.", "port")
	transmitCoalesced = desc("port_transmit_coalesced_frames_total", "UDP datagrams that went to the port's station as part of a super-frame made by the switch; each counts as a transmitted frame.", "port")
	transmitMulticast = desc("port_transmit_multicast_frames_total", "Multicast frames transmitted by the switch to the port's station, broadcast not included.", "port")
	transmitBroadcast = desc("port_transmit_broadcast_frames_total", "Broadcast frames transmitted by the switch to the port's station.", "port")

	relayedFrames = desc("port_relayed_frames_total", "Frames received from the port's station and sent on to at least one port.", "port")
	copiedFrames  = desc("port_copied_frames_total", "Copies made of the frames received from the port's station, one per egress port, or per segment for a port that takes no super-frames.", "port")
	floodedFrames = desc("flooded_frames_total", "Frames received from the port's station and flooded, by cause.", "port", "cause")
	droppedFrames = desc("dropped_frames_total", "Frames dropped at the port, by reason. Ingress: a received frame that goes nowhere (kernel_queue: one that was never received). Egress: one copy.", "port", "direction", "reason")

	portInfo         = desc("port_info", "The kind of the port and the name of its link; always 1.", "port", "kind", "ifname")
	portUp           = desc("port_up", "Whether the port's link is up and has carrier.", "port")
	portState        = desc("port_state", "1 for the state that the port is in.", "port", "state")
	portMTU          = desc("port_mtu_bytes", "The MTU of the port's link.", "port")
	portContained    = desc("port_contained", "Whether the port has a queue and a share of the time of its own because frames are dear to send to it.", "port")
	portContainments = desc("port_containments_total", "Times the port was contained.", "port")
	portLearned      = desc("port_fdb_entries", "Addresses learned on the port.", "port")

	fdbEntries  = desc("fdb_entries", "Entries of the forwarding database, by type.", "type")
	fdbCapacity = desc("fdb_capacity_entries", "The most entries that the forwarding database holds.")
	fdbLearned  = desc("fdb_learned_total", "Addresses learned.")
	fdbMoved    = desc("fdb_moved_total", "Learned addresses that moved to another port.")
	fdbAged     = desc("fdb_aged_total", "Learned addresses removed because their station was silent for the ageing time.")
	fdbEvicted  = desc("fdb_evicted_total", "Learned addresses removed to make room for another port's.")
	fdbRefused  = desc("fdb_refused_total", "Times an address was not learned because of a limit.")
	fdbFlushed  = desc("fdb_flushed_total", "Learned addresses removed by a flush: on request, link down, port removal or VLAN change.")

	configUnapplied = desc("config_apply_failed_total", "Times a configuration could not be applied: from the command line, as the startup file, or back from a trial.")

	netlinkResyncs = desc("netlink_resyncs_total", "Times all links were read anew because the kernel had lost events or a listing was interrupted.")

	buildInfo = desc("build_info", "Version of vswitchd; always 1.", "version", "revision", "goversion")
)

// Metric is a row of the table.
type Metric struct {
	Name, Help string
	Labels     []string
}

// all is filled by desc in the order of the table.
var all []Metric

// All returns every metric in the order of the table.
func All() []Metric { return all }

func desc(name, help string, labels ...string) *prometheus.Desc {
	name = "vswitch_" + name
	all = append(all, Metric{name, help, labels})
	return prometheus.NewDesc(name, help, labels, nil)
}
