package acceptance;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/**
 * Sends at a fixed rate and consumes what it sends, and keeps a ledger: every acknowledged message must be consumed from the
 * very place (broker, queue, offset) it was acknowledged with, and nothing else may be found there. Each line it gets on its
 * port is a command; the answer is the ledger as one line of JSON.
 *
 *   status      nothing but the answer
 *   mark        from now on the longest send and the longest silence are looked for anew
 *   hold, read  the consumer stops, goes on (its client stays)
 *   stop        sends no more
 *   end         ends the program; without an answer
 *
 * Options: --namesrv LIST --topic NAME [--queues N] [--rate MESSAGES-PER-SECOND] [--threads N] [--size BYTES] [--port N]
 * The topic is made on every master there is. Client settings are their defaults, so a send is tried three times in 3 s.
 */
public final class Load {
    /** What is known of the messages of one broker. */
    private static final class Broker {
        long acknowledged;
        long consumed;
        long lastAcknowledged;
    }

    private static final String RUN = Env.fresh("r");
    /** place to message, as acknowledged, and as consumed */
    private static final Map<String, Long> acknowledged = new HashMap<String, Long>();
    private static final Map<String, Long> consumed = new HashMap<String, Long>();
    private static final Map<String, Broker> brokers = new TreeMap<String, Broker>();
    /** reasons of failed sends, and how often */
    private static final Map<String, Integer> failures = new TreeMap<String, Integer>();
    private static long next, sent, late, failed, repeated, strange, open;
    /** of the sends since the mark, in ns: the longest, and the longest time without an acknowledgement */
    private static long longest, silence, lastAcknowledged;
    private static volatile boolean sending = true;

    private Load() {
    }

    public static void main(String[] a) {
        try {
            run(a);
        } catch (Exception x) {
            x.printStackTrace();
            Runtime.getRuntime().halt(1);
        }
    }

    private static void run(String[] a) throws Exception {
        final Map<String, String> options = new HashMap<String, String>();
        for (int i = 0; i + 1 < a.length; i += 2) {
            options.put(a[i], a[i + 1]);
        }
        String namesrv = options.get("--namesrv");
        final String topic = options.get("--topic");
        int queues = number(options, "--queues", 4);
        // Before anything else: who asks in the meantime waits for the answer.
        ServerSocket door = new ServerSocket(number(options, "--port", 7000));
        // Through each: a client that starts does not go on to the next when it cannot reach the first.
        for (String one : namesrv.split(";")) {
            makeTopic(one, topic, queues);
        }
        final DefaultMQPushConsumer consumer = consumer(namesrv, topic);
        final DefaultMQProducer producer = new DefaultMQProducer("P_" + topic);
        producer.setNamesrvAddr(namesrv);
        producer.setInstanceName(Env.fresh("p"));
        producer.start();
        final int threads = number(options, "--threads", 4);
        final int rate = number(options, "--rate", 200);
        final byte[] filling = new byte[number(options, "--size", 256)];
        lastAcknowledged = System.nanoTime();
        for (int t = 0; t < threads; t++) {
            final int thread = t;
            daemon("send-" + t, new Runnable() {
                @Override
                public void run() {
                    long pause = 1_000_000_000L * threads / rate;
                    long due = System.nanoTime() + pause * thread / threads;
                    while (sending) {
                        sleepUntil(due);
                        send(producer, topic, filling);
                        due = Math.max(due + pause, System.nanoTime());
                    }
                }
            });
        }
        while (true) {
            final Socket caller = door.accept();
            daemon("answer", new Runnable() {
                @Override
                public void run() {
                    try (Socket s = caller; BufferedReader in = new BufferedReader(new InputStreamReader(s.getInputStream(), StandardCharsets.UTF_8))) {
                        for (String line; (line = in.readLine()) != null; ) {
                            obey(line.trim(), consumer);
                            s.getOutputStream().write((report() + "\n").getBytes(StandardCharsets.UTF_8));
                            s.getOutputStream().flush();
                        }
                    } catch (Exception x) {
                        System.err.println("a caller is gone: " + x);
                    }
                }
            });
        }
    }

    /** Makes the topic on every master. A moment after a cluster is Ready its name servers may not be reached everywhere. */
    private static void makeTopic(String namesrv, String topic, int queues) throws Exception {
        Adm adm = Compat.adm(namesrv, 10000);
        for (long end = System.nanoTime() + 30_000_000_000L; ; ) {
            try {
                Map<String, String> masters = adm.masters(null);
                for (String address : masters.values()) {
                    adm.createTopic(address, topic, queues, queues, 6, null);
                }
                if (!masters.isEmpty() && adm.route(topic).size() >= masters.size()) {
                    break;
                }
                throw new Failed("topic " + topic + " has no route to each of " + masters);
            } catch (Exception x) {
                if (System.nanoTime() > end) {
                    throw x;
                }
            }
            LockSupport.parkNanos(200_000_000L);
        }
        adm.close();
    }

    private static DefaultMQPushConsumer consumer(String namesrv, String topic) throws Exception {
        DefaultMQPushConsumer c = new DefaultMQPushConsumer("G_" + topic);
        c.setNamesrvAddr(namesrv);
        c.setInstanceName(Env.fresh("c"));
        c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
        c.setConsumeThreadMin(2);
        c.setConsumeThreadMax(2);
        c.subscribe(topic, "*");
        c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
            for (MessageExt m : messages) {
                onConsumed(m);
            }
            return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
        });
        c.start();
        return c;
    }

    private static void obey(String command, DefaultMQPushConsumer consumer) {
        switch (command) {
            case "mark":
                synchronized (Load.class) {
                    longest = 0;
                    silence = 0;
                    lastAcknowledged = System.nanoTime();
                }
                break;
            case "hold":
                consumer.suspend();
                break;
            case "read":
                consumer.resume();
                break;
            case "stop":
                sending = false;
                break;
            case "end":
                Runtime.getRuntime().halt(0);
                break;
            default:
                break;
        }
    }

    private static void send(DefaultMQProducer producer, String topic, byte[] filling) {
        long id;
        synchronized (Load.class) {
            id = next++;
            open++;
        }
        Message m = new Message(topic, (RUN + " " + id + " " + new String(filling, StandardCharsets.ISO_8859_1)).getBytes(StandardCharsets.ISO_8859_1));
        long begin = System.nanoTime();
        SendResult result = null;
        Exception why = null;
        try {
            result = producer.send(m);
        } catch (Exception x) {
            why = x;
        }
        long end = System.nanoTime();
        synchronized (Load.class) {
            open--;
            sent++;
            longest = Math.max(longest, end - begin);
            if (result == null) {
                failed++;
                String reason = first(why);
                failures.merge(reason, 1, Integer::sum);
            } else if (result.getSendStatus() != SendStatus.SEND_OK) {
                late++;
            } else {
                silence = Math.max(silence, end - lastAcknowledged);
                lastAcknowledged = end;
                String broker = result.getMessageQueue().getBrokerName();
                acknowledge(place(broker, result.getMessageQueue().getQueueId(), result.getQueueOffset()), id);
                Broker b = broker(broker);
                b.acknowledged++;
                b.lastAcknowledged = end;
            }
        }
    }

    private static void acknowledge(String place, long id) {
        if (acknowledged.put(place, id) != null || consumed.containsKey(place) && consumed.get(place) != id) {
            strange++;
        }
    }

    private static void onConsumed(MessageExt m) {
        String[] words = new String(m.getBody(), StandardCharsets.ISO_8859_1).split(" ", 3);
        synchronized (Load.class) {
            if (words.length != 3 || !words[0].equals(RUN)) {
                strange++;
                return;
            }
            long id = Long.parseLong(words[1]);
            String place = place(m.getBrokerName(), m.getQueueId(), m.getQueueOffset());
            Long before = consumed.put(place, id);
            if (before == null) {
                broker(m.getBrokerName()).consumed++;
            } else {
                repeated++;
            }
            boolean other = before != null && before != id || acknowledged.containsKey(place) && acknowledged.get(place) != id;
            if (other || id >= next) {
                strange++;
            }
        }
    }

    private static String place(String broker, int queue, long offset) {
        return broker + "/" + queue + "/" + offset;
    }

    private static Broker broker(String name) {
        return brokers.computeIfAbsent(name, n -> new Broker());
    }

    private static synchronized String report() {
        long missing = 0;
        StringBuilder some = new StringBuilder();
        for (String place : acknowledged.keySet()) {
            if (!consumed.containsKey(place) && missing++ < 5) {
                some.append(some.length() == 0 ? "" : " ").append(place);
            }
        }
        long now = System.nanoTime();
        StringBuilder by = new StringBuilder();
        for (Map.Entry<String, Broker> b : brokers.entrySet()) {
            by.append(by.length() == 0 ? "" : ",").append(quote(b.getKey())).append(":{\"acknowledged\":").append(b.getValue().acknowledged)
                .append(",\"consumed\":").append(b.getValue().consumed)
                .append(",\"quietMillis\":").append(b.getValue().lastAcknowledged == 0 ? -1 : (now - b.getValue().lastAcknowledged) / 1_000_000).append("}");
        }
        StringBuilder reasons = new StringBuilder();
        for (Map.Entry<String, Integer> f : failures.entrySet()) {
            reasons.append(reasons.length() == 0 ? "" : ",").append(quote(f.getValue() + " x " + f.getKey()));
        }
        return "{\"sent\":" + sent + ",\"open\":" + open + ",\"acknowledged\":" + acknowledged.size() + ",\"late\":" + late + ",\"failed\":" + failed
            + ",\"consumed\":" + consumed.size() + ",\"missing\":" + missing + ",\"someMissing\":" + quote(some.toString())
            + ",\"repeated\":" + repeated + ",\"strange\":" + strange
            + ",\"longestMillis\":" + longest / 1_000_000
            + ",\"silenceMillis\":" + (sending ? Math.max(silence, now - lastAcknowledged) : silence) / 1_000_000
            + ",\"failures\":[" + reasons + "],\"brokers\":{" + by + "}}";
    }

    private static String first(Throwable x) {
        Throwable root = x;
        while (root.getCause() != null && root.getCause() != root) {
            root = root.getCause();
        }
        String text = root.getClass().getSimpleName() + ": " + String.valueOf(root.getMessage()).split("\n")[0];
        // One kind of failure is one reason, whichever message and time it was.
        return text.replaceAll("[0-9A-F]{32,}", "<id>").replaceAll("\\b[0-9]{3,}\\b", "<n>");
    }

    private static String quote(String s) {
        StringBuilder b = new StringBuilder("\"");
        for (char ch : s.toCharArray()) {
            b.append(ch < 32 ? ' ' : ch == '"' || ch == '\\' ? '\'' : ch);
        }
        return b.append('"').toString();
    }

    private static int number(Map<String, String> options, String name, int dflt) {
        return options.containsKey(name) ? Integer.parseInt(options.get(name)) : dflt;
    }

    private static void sleepUntil(long due) {
        for (long left; (left = due - System.nanoTime()) > 0; ) {
            LockSupport.parkNanos(left);
        }
    }

    private static void daemon(String name, Runnable body) {
        Thread t = new Thread(body, name);
        t.setDaemon(true);
        t.start();
    }
}
