/** The parts of a browser that tabs of one origin share. */
export interface Tabs<Message> {
  /** Starts to listen; further calls do nothing. */
  open(): void;
  /** Sends to all other tabs. */
  post(message: Message): void;
  /** Runs `work` while no other tab runs it. `waited` says whether another tab ran it just before. */
  exclusive<T>(work: (waited: boolean) => Promise<T>, lockName?: string): Promise<T>;
}

// A frozen tab can hold a lock for hours. Its work takes less than this, so nobody waits longer (milliseconds).
const LOCK_WAIT = 15_000;

/** Tabs that use the same `name` work together. */
export function openTabs<Message>(name: string, isShared: boolean, receive: (message: Message) => void): Tabs<Message> {
  let channel: BroadcastChannel | undefined;
  const open = () => {
    if (channel || !isShared || !globalThis.BroadcastChannel) return;
    channel = new BroadcastChannel(name);
    channel.onmessage = (event) => receive(event.data as Message);
    // In Node an open channel would keep the process alive.
    (channel as { unref?: () => void }).unref?.();
  };
  return {
    open,
    post(message) {
      open();
      channel?.postMessage(message);
    },
    async exclusive<T>(work: (waited: boolean) => Promise<T>, lockName = name): Promise<T> {
      // Absent in old browsers and on pages without TLS. Two tabs may then refresh at once; the API's grace for
      // the replaced token gives both the same successor.
      const locks = isShared ? globalThis.navigator?.locks : undefined;
      let running: Promise<T> | undefined;
      const run = (waited: boolean) => (running = work(waited));
      if (locks) {
        try {
          await locks.request(lockName, { ifAvailable: true }, (lock) => lock && run(false));
          if (!running) await locks.request(lockName, { signal: AbortSignal.timeout(LOCK_WAIT) }, () => run(true));
        } catch {
          // Either the work failed, and `running` says how; or the lock could not be had in time or at all (a page
          // with an opaque origin), and the work runs without it.
        }
      }
      return running ?? run(!!locks);
    },
  };
}
