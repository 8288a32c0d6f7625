package keras_ratn.classifier

import android.app.Activity
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.ImageDecoder
import android.graphics.RectF
import android.os.Build
import android.os.Bundle
import android.provider.MediaStore
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView

private const val PICK_IMAGE = 1

/** Picks an image from the gallery; shows its three best classes. */
class MainActivity : Activity() {
    private lateinit var classifier: Classifier
    private lateinit var picture: ImageView
    private lateinit var answer: TextView

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        classifier = Classifier(this)
        picture = ImageView(this).apply { adjustViewBounds = true }
        answer = TextView(this).apply { textSize = 18f }
        val button = Button(this).apply {
            text = "Choose an image"
            setOnClickListener {
                val pick = Intent(Intent.ACTION_GET_CONTENT).setType("image/*")
                startActivityForResult(pick, PICK_IMAGE)
            }
        }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                setPadding(32, 96, 32, 32)
                addView(button)
                addView(answer)
                addView(picture)
            },
        )
    }

    @Deprecated("The successor needs the androidx.activity library")
    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        val uri = data?.data ?: return
        show(
            if (Build.VERSION.SDK_INT >= 28) {
                ImageDecoder.decodeBitmap(
                    ImageDecoder.createSource(contentResolver, uri),
                ) { decoder, _, _ -> decoder.isMutableRequired = true }
            } else {
                @Suppress("DEPRECATION")
                MediaStore.Images.Media.getBitmap(contentResolver, uri)
            },
        )
    }

    private fun show(image: Bitmap) {
        // Hardware bitmaps have no pixels to read.
        val bitmap = image.copy(Bitmap.Config.ARGB_8888, true)
        val (results, mask) = classifier.classify(bitmap)
        answer.text = results.joinToString("\n") {
            "%s  %.1f %%".format(it.label, 100 * it.score)
        }
        mask?.let {
            val whole = RectF(0f, 0f, bitmap.width.toFloat(), bitmap.height.toFloat())
            Canvas(bitmap).drawBitmap(it, null, whole, null)
        }
        picture.setImageBitmap(bitmap)
    }

    override fun onDestroy() {
        classifier.close()
        super.onDestroy()
    }
}
